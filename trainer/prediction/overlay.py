"""Predictions drawn into the pictures they came from: a video, a picture, or a folder of pictures.

Lines are as thick as the subject's size asks for, whatever the picture's; joints that the model is unsure of fade. A
video keeps its frames' own times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from posecore.codec import encode_image
from posecore.errors import UserError
from posecore.overlay import BOX_COLOUR, contact_sheet, draw_skeleton
from posecore.pictures import VIDEO_SUFFIXES, Picture
from posecore.skeleton import load_skeleton
from trainer.prediction.predictor import Prediction

Drawn = tuple[Picture, Sequence[Prediction]]

_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_ENCODED_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".m4v"})  # what carries H.264
_FULL_CONFIDENCE, _LEAST_OPACITY = 0.6, 0.25
_SIZE_PER_THICKNESS = 110  # of a subject's box, in line widths
_SHEET_SIDE_PX = 256
_SHEET_PICTURES = 40
_TICKS_PER_S = 90_000  # the time base of video streams; every usual rate is a whole number of ticks


def check_overlay(path: Path) -> None:
    """Raises UserError if an overlay cannot be written under that name."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES - _ENCODED_SUFFIXES:
        raise UserError(f"{path}: videos are written as {' '.join(sorted(_ENCODED_SUFFIXES))}")
    if suffix not in _ENCODED_SUFFIXES | _PICTURE_SUFFIXES | {""}:
        raise UserError(f"{path}: an overlay is a picture (.png), a video (.mp4) or a folder (no suffix)")


def draw_predictions(image: np.ndarray, predictions: Sequence[Prediction], with_boxes: bool = False) -> np.ndarray:
    """A copy of the picture with the predicted skeletons.

    Args:
        image: [H, W, 3] uint8 RGB. with_boxes: outline each box, with its subject's id.
    """
    canvas = np.ascontiguousarray(image).copy()
    for one in predictions:
        reach = min(max(one.box[2:]), *[2 * side for side in image.shape[:2]])
        thickness = max(1, round(reach / _SIZE_PER_THICKNESS))
        opacity = np.clip(one.keypoints[:, 2] / _FULL_CONFIDENCE, _LEAST_OPACITY, 1.0)
        canvas = draw_skeleton(
            canvas, one.keypoints[:, :2], load_skeleton(one.skeleton), thickness=thickness, opacity=opacity
        )
        if with_boxes:
            _outline(canvas, one, max(1, thickness // 2))
    return canvas


def write_overlay(path: Path, drawn: Iterable[Drawn], rate: float = 25, with_boxes: bool = False) -> None:
    """Draw predictions into pictures: a video, one picture, or a folder, by the suffix of `path`.

    A picture (.png) shows a single one at full size, several as a sheet of at most 40 spread over them all. A path
    without suffix becomes a folder with one PNG for each picture.

    Args:
        drawn: pictures with what was predicted there, in order.
        rate: frames a second, where pictures that stand alone go into a video.

    Raises:
        UserError: the suffix is neither a video's nor a picture's, or there is no picture.
    """
    check_overlay(path)
    suffix = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    images = ((picture, draw_predictions(picture.image, found, with_boxes)) for picture, found in drawn)
    if suffix in _ENCODED_SUFFIXES:
        _write_video(path, images, rate)
    elif suffix in _PICTURE_SUFFIXES:
        _write_image(path, _sheet(image for _, image in images))
    else:
        path.mkdir(exist_ok=True)
        for picture, image in images:
            name = picture.name.replace("#", "-").replace("/", "-")
            _write_image(path / f"{name}.png", image)


def _write_video(path: Path, images: Iterable[tuple[Picture, np.ndarray]], rate: float) -> None:
    """Encode to H.264 at each frame's own time; clips follow one another."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    step = 1 / rate
    try:
        with av.open(str(temporary), "w") as container:
            stream, started, offset_s, last_s = None, None, 0.0, -step
            for picture, image in images:
                if stream is None:
                    # Encoders want even sides; every frame is fitted to the first one's.
                    height, width = (max(2, side - side % 2) for side in image.shape[:2])
                    stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                    stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
                    stream.options = {"crf": "18"}
                if picture.clip != started:
                    started, offset_s = picture.clip, last_s + step - picture.time_s
                # Never two frames at one tick, whatever the file says.
                last_s = max(offset_s + picture.time_s, last_s + 2 / _TICKS_PER_S)
                frame = av.VideoFrame.from_ndarray(_letterboxed(image, width, height), format="rgb24")
                frame.pts, frame.time_base = round(last_s * _TICKS_PER_S), Fraction(1, _TICKS_PER_S)
                container.mux(stream.encode(frame))
            if stream is None:
                raise UserError(f"{path}: there is nothing to draw, no picture was given")
            container.mux(stream.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sheet(images: Iterator[np.ndarray]) -> np.ndarray:
    """One image as it is, several as a sheet; of many, every second is dropped whenever there are too many."""
    first, cells, step = None, [], 1
    width = height = _SHEET_SIDE_PX
    for index, image in enumerate(images):
        if first is None:
            first = image
            aspect = min(max(image.shape[1] / image.shape[0], 0.5), 2.0)
            width, height = round(_SHEET_SIDE_PX * aspect**0.5), round(_SHEET_SIDE_PX / aspect**0.5)
        if index % step == 0:
            cells.append(_letterboxed(image, width, height))
        if len(cells) > 2 * _SHEET_PICTURES:
            cells, step = cells[::2], 2 * step
    if first is None:
        raise UserError("there is nothing to draw: no picture was given")
    if len(cells) == 1:
        return first
    chosen = np.linspace(0, len(cells) - 1, min(len(cells), _SHEET_PICTURES)).round().astype(int)
    return contact_sheet([cells[i] for i in chosen], columns=min(8, len(chosen)))


def _letterboxed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The whole picture inside a white rectangle of that size; where only an odd row or column is too much, without."""
    if 0 <= image.shape[0] - height <= 1 and 0 <= image.shape[1] - width <= 1:
        return np.ascontiguousarray(image[:height, :width])
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    canvas = np.full((height, width, 3), 255, np.uint8)
    x, y = (width - small.shape[1]) // 2, (height - small.shape[0]) // 2
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    return canvas


def _outline(canvas: np.ndarray, prediction: Prediction, thickness: int) -> None:
    x, y, width, height = (round(value) for value in prediction.box)
    cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), BOX_COLOUR, thickness)
    scale = max(0.35, 0.45 * thickness)
    corner = (max(x, 0) + 2 * thickness, max(y, 0) + round(24 * scale))
    for colour, extra in (((20, 20, 20), 2), (BOX_COLOUR, 0)):
        cv2.putText(
            canvas, str(prediction.id), corner, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness + extra, cv2.LINE_AA
        )


def _write_image(path: Path, image: np.ndarray) -> None:
    path.write_bytes(encode_image(image, "jpg" if path.suffix.lower() in (".jpg", ".jpeg") else "png"))
