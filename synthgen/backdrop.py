"""The user's photos behind the subjects: what a camera sees where nothing stands.

Photos are referred to as `photo/NAME`, by the file's name alone; the folder stays in the recipe.
"""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from posecore.errors import UserError

PHOTO_PREFIX = "photo/"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@lru_cache(maxsize=8)
def photo_ids(folder: str) -> tuple[str, ...]:
    """Ids of the pictures in a folder, by name.

    Raises:
        UserError: there is no such folder, or no picture in it.
    """
    found = (
        sorted(f.name for f in Path(folder).iterdir() if f.suffix.lower() in _SUFFIXES) if Path(folder).is_dir() else []
    )
    if not found:
        raise UserError(f"world.photos: no picture ({', '.join(_SUFFIXES)}) in {folder!r}; name a folder of photos")
    return tuple(PHOTO_PREFIX + name for name in found)


def lay_behind(radiance: np.ndarray, coverage: np.ndarray, subjects: np.ndarray, photo: Path) -> np.ndarray:
    """Put a photo behind a picture, cropped to its shape about the photo's middle.

    Args:
        radiance: [H,W,3] linear, dark where nothing is (premultiplied). coverage: [H,W] 0..1, 1 where something stands.
        subjects: [H,W] bool, the subjects' pixels; the photo's level is made like theirs.

    Raises:
        UserError: the photo is not readable.
    """
    picture = cv2.imread(str(photo), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{photo}: not a readable picture; take it out of world.photos")
    height, width = coverage.shape
    share = max(height / picture.shape[0], width / picture.shape[1])
    wide, high = round(width / share), round(height / share)
    top, left = (picture.shape[0] - high) // 2, (picture.shape[1] - wide) // 2
    cropped = picture[top : top + high, left : left + wide, ::-1]
    sized = cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)
    behind = (sized / np.float32(255)) ** 2.2
    level = radiance[subjects].mean() if subjects.any() else 0.5
    behind *= max(float(level), 1e-3) / max(float(behind.mean()), 1e-3)
    return radiance + (1 - coverage[..., None]) * behind
