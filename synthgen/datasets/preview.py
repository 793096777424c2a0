"""A contact sheet of a dataset: pictures with their boxes and skeletons, keys beneath, a legend at the foot."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from posecore.codec import decode, decode_real, encode_image, read_meta
from posecore.dataset import Manifest, iterate_dataset, read_manifest, write_atomically
from posecore.derived_joints import derive_joints
from posecore.errors import UserError
from posecore.overlay import contact_sheet, draw_box, draw_skeleton, legend
from posecore.sample import Sample
from posecore.skeleton import load_skeleton

_GROUND = 40  # around pictures that are not square


def write_preview(
    data: str | Path,
    out: Path,
    count: int = 32,
    columns: int = 8,
    tile_px: int = 256,
    skeleton: str | None = None,
    start: int | None = None,
) -> None:
    """Write a PNG or JPEG with samples of a dataset.

    Args:
        data: local folder or fsspec URL.
        columns: pictures in a row; where a moment has several views, a row holds whole moments.
        tile_px: side of each sample's square.
        skeleton: draw this one (coco17, h36m17, ...) instead of the stored superset.
        start: show the `count` samples from this one on; None: samples spread evenly over the dataset.

    Raises:
        UserError: no dataset there, nothing in it, or nothing from `start` on.
    """
    manifest = read_manifest(data)
    total, views = manifest.num_samples, _views_per_frame(manifest)
    if total == 0:
        raise UserError(f"{data}: the dataset is empty")
    if start is not None and start >= total:
        raise UserError(f"{data}: --start {start} is behind the last sample; there are {total}, numbered from 0")
    chosen = set(_spread(total, count, views) if start is None else range(start, min(total, start + count)))
    tiles, keys = [], []
    for number, (key, members) in enumerate(islice(iterate_dataset(data), max(chosen) + 1)):
        if number not in chosen:
            continue
        keys.append(key)
        if "subjects" in read_meta(members):
            tiles.append(draw_sample(decode(members, layers=("image",)), tile_px, skeleton))
        else:
            tiles.append(fit_square(decode_real(members).image, tile_px)[0])
    columns = columns - columns % views if columns > views else views
    sheet = contact_sheet(tiles, min(columns, len(tiles)), labels=keys)
    if manifest.kind != "real":
        sheet = np.concatenate([sheet, legend(sheet.shape[1])])
    image_format = "jpg" if out.suffix.lower() in (".jpg", ".jpeg") else "png"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, encode_image(sheet, image_format, 90))


def draw_sample(sample: Sample, size_px: int, skeleton: str | None = None) -> np.ndarray:
    """The sample's picture in a square of `size_px`, with every subject's box and skeleton.

    Raises:
        UserError: a subject cannot be shown in that skeleton.
    """
    canvas, scale, offset = fit_square(sample.image, size_px)
    for subject in sample.subjects:
        drawn = load_skeleton(skeleton or subject.skeleton)
        joints = derive_joints(subject, drawn, sample.camera)
        joints_px = joints.joints_px * scale + offset
        canvas = draw_box(canvas, subject.box_px * scale + [*offset, 0, 0])
        canvas = draw_skeleton(canvas, joints_px, drawn, joints.visibility, thickness=max(1, size_px // 180))
    return canvas


def _views_per_frame(manifest: Manifest) -> int:
    return max(1, int(manifest.recipe.get("views_per_frame", 1)))


def _spread(total: int, count: int, views: int) -> list[int]:
    """Numbers of `count` samples, spread evenly, all views of a moment together."""
    moments, wanted = -(-total // views), -(-count // views)
    step = max(1, moments // wanted)
    firsts = range(0, min(moments, step * wanted), step)
    return [first * views + view for first in firsts for view in range(views) if first * views + view < total][:count]


def fit_square(image: np.ndarray, size_px: int) -> tuple[np.ndarray, float, np.ndarray]:
    """The picture scaled into a square; with the scale and the offset that take its pixels there."""
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=interpolation)
    canvas = np.full((size_px, size_px, 3), _GROUND, dtype=np.uint8)
    top, left = (size_px - scaled.shape[0]) // 2, (size_px - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas, scale, np.array([left, top], dtype=float)
