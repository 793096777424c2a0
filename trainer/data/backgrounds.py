"""Pictures without subjects, to paste labelled subjects on.

Pictures are uint8 [H, W, 3] RGB. They are made once, before loader processes start, and are the same for every rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from trainer.data.augment import Warp, clean_plate, warp_image
from trainer.data.config import DataConfig
from trainer.data.frames import frame_ids, frame_image
from trainer.data.shard_source import ShardSource

_MAX_BACKGROUNDS = 256
_FRAMES_PER_PLATE = 9


def load_backgrounds(source: ShardSource, data: DataConfig) -> list[np.ndarray]:
    """The pictures that `data` asks for; none where backgrounds are never swapped.

    From `background_folder` each clip's median, which its moving subject leaves; otherwise the first scenes' own
    pictures, their subjects painted over.

    Args:
        source: the labelled dataset whose subjects will be pasted.

    Raises:
        UserError: `background_folder` is missing, damaged, or not of kind "real".
    """
    if data.photometric.background_swap_probability == 0:
        return []
    if data.background_folder is not None:
        real = ShardSource(data.background_folder, "real", None, data)
        groups = [group for shard in range(min(4, len(real.manifest.shards))) for group in real.groups(shard)]
        plates = []
        for group in _spread(groups, _MAX_BACKGROUNDS):
            plates.append(
                np.median([frame_image(f) for f in _spread(group, _FRAMES_PER_PLATE)], axis=0).astype(np.uint8)
            )
    else:
        pictures = [
            (frame_image(group[0]), frame_ids(group[0])) for group in _spread(source.groups(0), _MAX_BACKGROUNDS)
        ]
        plates = [clean_plate(image, mask > 0) for image, mask in pictures]
    limit = 2 * data.input_size_px
    return [plate if max(plate.shape) <= limit else _shrink(plate, limit) for plate in plates]


def random_background(backgrounds: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a random picture, mirrored half of the time."""
    picture = backgrounds[rng.integers(len(backgrounds))]
    height, width = picture.shape[:2]
    side = min(width, height) * rng.uniform(0.5, 1.0)
    centre = rng.uniform(side / 2, [width - side / 2, height - side / 2])
    return warp_image(picture, Warp((centre[0], centre[1]), side, size, flip=bool(rng.random() < 0.5)))


def _spread(things: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread, in order."""
    if len(things) <= most:
        return list(things)
    return [things[i] for i in np.linspace(0, len(things) - 1, most).round().astype(int)]


def _shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    factor = longest / max(picture.shape)
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
