"""A contact sheet of a dataset: pictures with their boxes and skeletons, coloured by side, dots by visibility."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from posecore.codec import decode, decode_real, encode_image, read_meta
from posecore.dataset import iterate_dataset, read_manifest, write_atomically
from posecore.errors import UserError
from posecore.overlay import contact_sheet, draw_skeleton
from posecore.sample import Sample
from posecore.skeleton import load_skeleton


def write_preview(
    data: Path, out: Path, count: int = 32, columns: int = 8, tile_px: int = 256, skeleton: str | None = None
) -> None:
    """Write a PNG or JPEG with samples spread evenly over the dataset.

    Args:
        tile_px: side of each sample's square.
        skeleton: draw this one (coco17, h36m17, ...) instead of the stored superset.

    Raises:
        UserError: no dataset there, or nothing in it.
    """
    manifest = read_manifest(data)
    if manifest.num_samples == 0:
        raise UserError(f"{data}: the dataset is empty")
    step = max(1, manifest.num_samples // count)
    tiles = []
    for _, members in islice(iterate_dataset(data), 0, step * count, step):
        if "subjects" in read_meta(members):
            tiles.append(draw_sample(decode(members, layers=("image", "mask")), tile_px, skeleton))
        else:
            tiles.append(_fit(decode_real(members).image, tile_px)[0])
    sheet = contact_sheet(tiles, min(columns, len(tiles)))
    image_format = "jpg" if out.suffix.lower() in (".jpg", ".jpeg") else "png"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, encode_image(sheet, image_format, 90))


def draw_sample(sample: Sample, size_px: int, skeleton: str | None = None) -> np.ndarray:
    """The sample's picture in a square of `size_px`, with boxes and skeletons."""
    canvas, scale, offset = _fit(sample.image, size_px)
    for subject in sample.subjects:
        stored = load_skeleton(subject.skeleton)
        drawn = load_skeleton(skeleton) if skeleton else stored
        joints_px = drawn.points @ subject.joints_px * scale + offset
        # a derived joint is as visible as its worst source
        visibility = np.array([subject.visibility[row > 0].min() for row in drawn.points])
        canvas = draw_skeleton(canvas, joints_px, drawn, visibility, thickness=max(1, size_px // 180))
        x, y, width, height = subject.box_px * scale + [*offset, 0, 0]
        corners = (round(x), round(y)), (round(x + width) - 1, round(y + height) - 1)
        cv2.rectangle(canvas, *corners, (250, 220, 60), 1)
    return canvas


def _fit(image: np.ndarray, size_px: int) -> tuple[np.ndarray, float, np.ndarray]:
    """The picture scaled into a square; with the scale and the offset that take its pixels there."""
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=interpolation)
    canvas = np.full((size_px, size_px, 3), 40, dtype=np.uint8)
    top, left = (size_px - scaled.shape[0]) // 2, (size_px - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas, scale, np.array([left, top], dtype=float)
