"""Files into pictures: photographs and videos, decoded once, front to back, as they are meant to be seen.

A picture is upright, with square pixels, uint8 RGB, however its file says it: EXIF orientation, a video's rotation
flag and pixel aspect, 16 bits, grey, a palette and alpha are resolved here, and nothing downstream knows of them. Boxes
and keypoints count in these pixels. A video's frames keep their number and time stamp, so variable rates are fine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from posecore.errors import UserError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

_GROUND = 128  # grey behind what is transparent: the colour stored there means nothing
_EXIF_ORIENTATION = 0x0112


class UnreadableError(UserError):
    """A file does not decode, wholly or from some point on. `reason` says why, without path and advice."""

    def __init__(self, path: Path, reason: str, advice: str = "leave it out or convert it") -> None:
        super().__init__(f"{path}: {reason}; {advice}")
        self.reason = reason


@dataclass(frozen=True)
class Subject:
    """Where somebody is.

    Attributes:
        box: x, y, width, height in pixels, or None for the whole picture.
        id: the same for one subject through a clip; None where it is not known.
        score: of the detector that found it, 0..1.
        category: of that detector, as COCO numbers them.
    """

    box: tuple[float, float, float, float] | None
    id: int | None = None
    score: float = 1.0
    category: int = 1


@dataclass(frozen=True)
class Picture:
    """One upright picture.

    Attributes:
        name: the file's; with the frame's number for a video ("clip.mp4#000012"); the key in a dataset.
        image: [H, W, 3] uint8 RGB. alpha: [H, W] uint8, or None where the file has none.
        clip: what it is a frame of; its own name if it stands alone. frame: its number there. time_s: from the first.
        labelled: the subjects that a labelled dataset knows of, else None.
        scale: pixels of the file to one of `image`, above 1 where it was shrunk.
        is_damaged: whether the decoder had to guess parts of it.
    """

    name: str
    image: np.ndarray
    alpha: np.ndarray | None = None
    clip: str = ""
    frame: int = 0
    time_s: float = 0.0
    labelled: tuple[Subject, ...] | None = None
    scale: float = 1.0
    is_damaged: bool = False


def natural_order(path: Path) -> tuple[list[list[tuple[int, int | str]]], str]:
    """A key that sorts digits as numbers: frame2.png before frame10.png."""
    parts = [
        [(0, int(run)) if run.isdecimal() else (1, run) for run in re.split(r"(\d+)", part) if run]
        for part in path.parts
    ]
    return parts, str(path)


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """One picture file, upright: [H, W, 3] uint8 RGB over grey, and [H, W] uint8 alpha or None.

    Raises:
        UnreadableError: it does not decode, holds several pages, or stores its values as floats.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(path, f"cannot be read ({error.strerror})", "leave it out") from None
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if decoded is None:
        raise UnreadableError(path, "does not decode as a picture")
    if decoded.ndim == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    try:
        image, alpha = to_rgb(decoded)
        orientation, num_pages = _header(data)
    except ValueError as error:
        raise UnreadableError(path, str(error).partition(";")[0]) from None
    if num_pages > 1:
        raise UnreadableError(
            path, f"holds {num_pages} pages", "split it into single pictures, or convert it to a video"
        )
    return _upright(image, orientation), None if alpha is None else _upright(alpha, orientation)


def to_rgb(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Any picture of whole numbers as [H, W, 3] uint8 RGB, and its alpha [H, W] uint8 or None.

    Args:
        image: uint8 or uint16, [H, W] or [H, W, C] with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha). 16
            bits are taken to be used in full. Under alpha lies mid-grey.

    Raises:
        ValueError: another type or shape.
    """
    image = np.asarray(image)
    if image.dtype == np.uint16:
        image = np.round(image / 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ValueError(f"pictures are uint8 or uint16, got {image.dtype}; convert it, RGB 0..255")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4) or not image.size:
        raise ValueError(f"a picture is [H, W] or [H, W, 1..4], got {list(image.shape)}")
    alpha = None
    if image.shape[2] in (2, 4):
        image, alpha = image[..., :-1], image[..., -1]
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if alpha is not None:
        share = alpha[..., None].astype(np.float32) / 255
        image = np.round(image * share + _GROUND * (1 - share)).astype(np.uint8)
    return np.ascontiguousarray(image), alpha


def read_video(
    path: Path,
    name: str,
    longest_px: int | None = None,
    is_wanted: Callable[[int, float], bool] = lambda frame, time_s: True,
    end: int | None = None,
) -> Iterator[Picture]:
    """The frames of a video, one after the other.

    Args:
        name: of the clip; its frames are called "name#000012".
        longest_px: larger frames are shrunk to this longer side (area filter).
        is_wanted: from a frame's number and time stamp, whether it is yielded; what is not is never converted.
        end: the number of the first frame that is not read any more; None: the video's own end.

    Raises:
        UnreadableError: the file does not decode, or from some frame on no longer.
    """
    count = 0
    with open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        pixel_aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        rate = float(stream.average_rate or 25)
        first_s = None
        try:
            for frame in islice(_decoded(container, stream), end):
                time_s = count / rate if frame.time is None else frame.time
                first_s = time_s if first_s is None else first_s
                if is_wanted(count, time_s - first_s):
                    image, alpha, scale = _upright_frame(frame, pixel_aspect, longest_px)
                    yield Picture(
                        f"{name}#{count:06d}",
                        image,
                        alpha,
                        name,
                        count,
                        time_s - first_s,
                        scale=scale,
                        is_damaged=frame.is_corrupt,
                    )
                count += 1
        except (av.error.FFmpegError, EOFError) as error:
            reason = f"does not decode as video after {count} frames ({_words(error)})"
            raise UnreadableError(path, reason, "convert it") from None
    if not count:
        raise UnreadableError(path, "holds no video frame", "leave it out")


def open_video(path: Path) -> av.container.InputContainer:
    """An open container that has a video stream; close it, or use it as a context manager.

    Raises:
        UnreadableError: it is none.
    """
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise UnreadableError(path, f"does not decode as video ({_words(error)})") from None
    if not container.streams.video:
        container.close()
        raise UnreadableError(path, "holds no video stream", "leave it out")
    return container


def shrink(image: np.ndarray, longest_px: int | None) -> np.ndarray:
    """The image [H, W, ...], if its longer side exceeds `longest_px` shrunk to it (area filter)."""
    if longest_px is None or max(image.shape[:2]) <= longest_px:
        return image
    factor = longest_px / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Frames as they are stored.

    Raises:
        EOFError: the file ends within a packet; the decoder alone makes do with that.
    """
    # FFmpeg's own decoders of VP8 and VP9 leave out alpha; libvpx's do not.
    library = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    has_hidden_alpha = stream.metadata.get("alpha_mode") == "1" and library in av.codecs_available
    decoder = av.CodecContext.create(library, "r") if has_hidden_alpha else stream
    is_cut = False
    for packet in container.demux(stream):
        if packet.size:  # the last packet is empty: it flushes the decoder
            is_cut = packet.is_corrupt
        yield from decoder.decode(packet)
    if is_cut:
        raise EOFError("the file is cut short")


def _upright_frame(
    frame: av.VideoFrame, pixel_aspect: float, longest_px: int | None
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Image, alpha or None, and scale of a decoded frame."""
    width, height = round(frame.width * pixel_aspect), frame.height
    factor = 1.0 if longest_px is None else min(1.0, longest_px / max(width, height))
    has_alpha = any(component.is_alpha for component in frame.format.components)
    picture = frame.to_ndarray(
        format="rgba" if has_alpha else "rgb24",
        width=max(1, round(width * factor)),
        height=max(1, round(height * factor)),
        interpolation="AREA",
    )
    # The flag is the counter-clockwise turn that makes the frame upright, in degrees.
    image, alpha = to_rgb(np.rot90(picture, k=round(frame.rotation / 90)))
    return image, alpha, 1 / factor


def _words(error: av.error.FFmpegError | EOFError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _header(data: bytes) -> tuple[int, int]:
    """EXIF orientation (1: upright) that is still to be applied, and the number of pages."""
    try:
        with Image.open(io.BytesIO(data)) as header:
            # The decoder turns TIFF by itself, and no other format when alpha and depth are kept.
            orientation = 1 if header.format == "TIFF" else header.getexif().get(_EXIF_ORIENTATION, 1)
            return orientation, getattr(header, "n_frames", 1)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{error}".partition(" could")[0].lower()) from None
    except (UnidentifiedImageError, OSError):  # what only the decoder knows has no EXIF
        return 1, 1


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (2, 4, 5, 7 are mirrored)."""
    match orientation:
        case 2:
            image = np.fliplr(image)
        case 3:
            image = np.rot90(image, 2)
        case 4:
            image = np.flipud(image)
        case 5:
            image = np.swapaxes(image, 0, 1)
        case 6:
            image = np.rot90(image, -1)
        case 7:
            image = np.rot90(np.swapaxes(image, 0, 1), 2)
        case 8:
            image = np.rot90(image)
    return np.ascontiguousarray(image)
