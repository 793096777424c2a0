"""Reading real footage: video files and folders of pictures become one stream of upright RGB frames.

Every file is decoded once, front to back, and never held whole. Frames keep their index in the file and their own
time stamp, so variable frame rates are fine; rotation flags and non-square pixels are resolved here, and nothing
downstream knows of them. `scale` is the number of source pixels (upright, square) to one pixel of the returned image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import cv2
import numpy as np

from posecore.errors import UserError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Footage:
    """One thing to read: a video file, or the pictures that lie directly in one folder, in the order of their
    names."""

    name: str
    paths: tuple[Path, ...]
    is_video: bool


@dataclass(frozen=True)
class VideoFrame:
    """One upright frame.

    Attributes:
        index: position in the file, counting every decoded frame from 0.
        time_s: presentation time from the first frame; for pictures their index.
        image: uint8 [H, W, 3] RGB, shrunk to the working size.
        scale: source pixels to one pixel of `image`.
    """

    index: int
    time_s: float
    image: np.ndarray
    scale: float


def find_footage(inputs: list[Path]) -> list[Footage]:
    """List what the given files and folders hold, in a fixed order; folders are searched in depth.

    Raises:
        UserError: a path does not exist, is of an unknown type, or holds neither videos nor pictures.
    """
    footage: list[Footage] = []
    for path in inputs:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give videos, pictures or folders of them")
        if path.is_dir():
            inside = _footage_in_folder(path)
            if not inside:
                raise UserError(f"{path}: no video or picture in this folder ({_known_suffixes()})")
            footage += inside
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            footage.append(Footage(path.name, (path,), is_video=True))
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            footage.append(Footage(path.name, (path,), is_video=False))
        else:
            raise UserError(f"{path}: unknown type {path.suffix!r}; known are {_known_suffixes()}")
    return footage


def read_frames(footage: Footage, working_size_px: int, frame_step: int = 1) -> Iterator[VideoFrame]:
    """Decode a video, or load pictures, one frame after the other.

    Args:
        working_size_px: frames whose longer side exceeds this are shrunk to it (area filter).
        frame_step: yield every n-th frame only.

    Raises:
        UserError: the file does not decode, or holds no frame; one line with its path.
    """
    reader = _read_video if footage.is_video else _read_pictures
    yield from reader(footage, working_size_px, frame_step)


def _read_video(footage: Footage, working_size_px: int, frame_step: int) -> Iterator[VideoFrame]:
    path = footage.paths[0]
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: holds no video stream; leave it out")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            pixel_aspect = float(stream.sample_aspect_ratio or 1) or 1.0
            first_time_s = None
            for count, frame in enumerate(container.decode(stream), start=1):
                time_s = frame.time if frame.time is not None else float(count - 1)
                first_time_s = time_s if first_time_s is None else first_time_s
                if (count - 1) % frame_step:
                    continue
                width, height = round(frame.width * pixel_aspect), frame.height
                scale = max(1.0, max(width, height) / working_size_px)
                picture = frame.to_ndarray(
                    format="rgb24", width=round(width / scale), height=round(height / scale), interpolation="AREA"
                )
                # The flag is the counter-clockwise turn that makes the frame upright, in degrees.
                picture = np.ascontiguousarray(np.rot90(picture, k=round(frame.rotation / 90)))
                yield VideoFrame(count - 1, time_s - first_time_s, picture, scale)
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path}: does not decode as video after {count} frames ({reason}); leave it out or convert it"
        ) from error
    if count == 0:
        raise UserError(f"{path}: holds no video frame; leave it out")


def _read_pictures(footage: Footage, working_size_px: int, frame_step: int) -> Iterator[VideoFrame]:
    for index, path in list(enumerate(footage.paths))[::frame_step]:
        # cv2 turns JPEGs upright by their EXIF flag.
        picture = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if picture is None:
            raise UserError(f"{path}: does not decode as a picture; leave it out or convert it")
        height, width = picture.shape[:2]
        scale = max(1.0, max(width, height) / working_size_px)
        if scale > 1:
            size = (round(width / scale), round(height / scale))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        yield VideoFrame(index, float(index), cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), scale)


def _footage_in_folder(folder: Path) -> list[Footage]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    footage = [Footage(path.name, (path,), is_video=True) for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    pictures = tuple(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    if pictures:
        footage.append(Footage(folder.name, pictures, is_video=False))
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        footage += _footage_in_folder(inner)
    return footage


def _known_suffixes() -> str:
    return " ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
