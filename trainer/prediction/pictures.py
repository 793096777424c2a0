"""What is predicted on: picture files, folders of them, videos and packed datasets become one stream of pictures.

A picture is upright, with square pixels, uint8 RGB, however its file says it: EXIF orientation, a video's rotation
flag and pixel aspect, 16 bits, grey, a palette and alpha are resolved here, and nothing downstream knows of them. Boxes
and keypoints count in these pixels. A video's frames keep their number and time stamp, so variable rates are fine.
Files are decoded one frame after the other, never held whole.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from posecore.codec import decode_image, image_member, read_meta
from posecore.dataset import MANIFEST_NAME, iterate_dataset, read_manifest
from posecore.errors import UserError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

_GROUND = 128  # grey behind what is transparent: the colour stored there means nothing
_EXIF_ORIENTATION = 0x0112


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
    """

    name: str
    image: np.ndarray
    alpha: np.ndarray | None = None
    clip: str = ""
    frame: int = 0
    time_s: float = 0.0
    labelled: tuple[Subject, ...] | None = None


@dataclass(frozen=True)
class VideoFile:
    """A video. `name` is the clip's."""

    name: str
    path: Path


@dataclass(frozen=True)
class Stills:
    """Picture files. With a rate they are the frames of the clip `name`, else each stands alone."""

    name: str
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    rate: float | None


@dataclass(frozen=True)
class PackedDataset:
    """A folder or URL of shards, labelled or not. Where there are several, `prefix` tells their pictures apart."""

    location: str
    prefix: str = ""


Source = VideoFile | Stills | PackedDataset


def find_sources(inputs: Sequence[str | Path], stills_rate: float | None = None) -> list[Source]:
    """What the inputs hold, in their order; nothing is decoded yet.

    Args:
        inputs: picture files, videos, folders of either (not searched in depth), packed datasets (also as URL).
        stills_rate: frames a second; the stills of each folder, and those given one by one, are then clips.

    Raises:
        UserError: a path does not exist, is of an unknown type, or is an empty folder.
    """
    sources: list[Source] = []
    singles = [path for path in map(Path, inputs) if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES]
    for given in inputs:
        path = Path(given)
        if "://" in str(given) or (path / MANIFEST_NAME).is_file():
            sources.append(PackedDataset(str(given)))
        elif path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
            videos = [entry for entry in inside if entry.suffix.lower() in VIDEO_SUFFIXES]
            stills = [entry for entry in inside if entry.suffix.lower() in IMAGE_SUFFIXES]
            if not videos and not stills:
                raise UserError(f"{path}: no picture, video or {MANIFEST_NAME} in this folder")
            if stills:
                sources.append(_stills(path.resolve().name, stills, stills_rate))
            sources += [VideoFile(video.name, video) for video in videos]
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder; give pictures, videos, folders of them or a dataset")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            sources.append(VideoFile(path.name, path))
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            known = " ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
            raise UserError(f"{path}: unknown type {path.suffix!r}; known are {known}")
        elif singles:
            sources.append(_stills(singles[0].resolve().parent.name, singles, stills_rate))
            singles = []
    return _with_own_names(sources)


def num_pictures(sources: Sequence[Source]) -> int | None:
    """How many pictures there will be, as far as headers tell; None if one does not say."""
    total = 0
    for source in sources:
        match source:
            case Stills():
                total += len(source.paths)
            case PackedDataset():
                total += read_manifest(source.location).num_samples
            case VideoFile():
                count = _stated_frames(source.path)
                if count is None:
                    return None
                total += count
    return total


def num_clips(sources: Sequence[Source]) -> int | None:
    """How many clips, a picture that stands alone being one; None where a dataset is among them."""
    if any(isinstance(source, PackedDataset) for source in sources):
        return None
    return sum(len(one.paths) if isinstance(one, Stills) and one.rate is None else 1 for one in sources)


def frame_rate(sources: Sequence[Source]) -> float | None:
    """Frames a second of the first clip among them, its mean where it varies; None where there is no clip."""
    for source in sources:
        if isinstance(source, Stills) and source.rate is not None:
            return source.rate
        if isinstance(source, VideoFile):
            with _opened(source.path) as container:
                return float(container.streams.video[0].average_rate or 25)
    return None


def read_pictures(source: Source, longest_px: int | None = None) -> Iterator[Picture]:
    """The pictures of a source, one after the other.

    Args:
        longest_px: larger pictures are shrunk to this longer side (area filter).

    Raises:
        UserError: something does not decode; one line with its path.
    """
    match source:
        case VideoFile():
            yield from _read_video(source, longest_px)
        case Stills():
            for index, (path, name) in enumerate(zip(source.paths, source.names, strict=True)):
                image, alpha = (_shrunk(layer, longest_px) for layer in read_image(path))
                if source.rate is None:
                    yield Picture(name, image, alpha, clip=name)
                else:
                    yield Picture(name, image, alpha, source.name, index, index / source.rate)
        case PackedDataset():
            for key, members in iterate_dataset(source.location):
                image = _shrunk(decode_image(image_member(members), key), longest_px)
                yield _packed_picture(source.prefix, key, image, read_meta(members))


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """One picture file, upright: [H, W, 3] uint8 RGB over grey, and [H, W] uint8 alpha or None.

    Raises:
        UserError: it does not decode, holds several pages, or stores its values as floats.
    """
    data = path.read_bytes()
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if decoded is None:
        raise UserError(f"{path}: does not decode as a picture; leave it out or convert it")
    if decoded.ndim == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    try:
        image, alpha = to_rgb(decoded)
        orientation, num_pages = _header(data)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if num_pages > 1:
        raise UserError(f"{path}: holds {num_pages} pages; split it into single pictures, or convert it to a video")
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


def _stills(name: str, paths: Sequence[Path], rate: float | None) -> Stills:
    return Stills(name, tuple(paths), tuple(path.name for path in paths), rate)


def _with_own_names(sources: Sequence[Source]) -> list[Source]:
    """Files that share a name (a/1.png, b/1.png) go by their path as it was given, pictures of several datasets too."""
    num_datasets = sum(isinstance(source, PackedDataset) for source in sources)
    counts: Counter[str] = Counter()
    for source in sources:
        counts.update(source.names if isinstance(source, Stills) else [])
        counts.update([source.name] if isinstance(source, VideoFile) else [])
    renamed: list[Source] = []
    for source in sources:
        match source:
            case Stills():
                own = [
                    name if counts[name] == 1 else path.as_posix()
                    for path, name in zip(source.paths, source.names, strict=True)
                ]
                renamed.append(Stills(source.name, source.paths, tuple(own), source.rate))
            case VideoFile():
                renamed.append(source if counts[source.name] == 1 else VideoFile(source.path.as_posix(), source.path))
            case PackedDataset():
                prefix = f"{source.location.rstrip('/')}/" if num_datasets > 1 else ""
                renamed.append(PackedDataset(source.location, prefix))
    return renamed


def _packed_picture(prefix: str, key: str, image: np.ndarray, meta: dict) -> Picture:
    name = prefix + key
    if "subjects" not in meta:
        return Picture(name, image, clip=prefix + meta["clip"], frame=meta["frame"], time_s=meta["time_s"])
    seen = [subject for subject in meta["subjects"] if min(subject["box_px"][2:]) > 0]
    labelled = tuple(Subject(tuple(subject["box_px"]), subject["id"]) for subject in seen)
    return Picture(name, image, clip=name, labelled=labelled)


def _read_video(source: VideoFile, longest_px: int | None) -> Iterator[Picture]:
    path, count = source.path, 0
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        pixel_aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        rate = float(stream.average_rate or 25)
        first_s = None
        try:
            for frame in container.decode(stream):
                time_s = count / rate if frame.time is None else frame.time
                first_s = time_s if first_s is None else first_s
                width, height = round(frame.width * pixel_aspect), frame.height
                shrink = 1.0 if longest_px is None else min(1.0, longest_px / max(width, height))
                has_alpha = any(component.is_alpha for component in frame.format.components)
                picture = frame.to_ndarray(
                    format="rgba" if has_alpha else "rgb24",
                    width=max(1, round(width * shrink)),
                    height=max(1, round(height * shrink)),
                    interpolation="AREA",
                )
                # The flag is the counter-clockwise turn that makes the frame upright, in degrees.
                image, alpha = to_rgb(np.rot90(picture, k=round(frame.rotation / 90)))
                yield Picture(f"{source.name}#{count:06d}", image, alpha, source.name, count, time_s - first_s)
                count += 1
        except av.error.FFmpegError as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{path}: does not decode as video after {count} frames ({reason}); convert it") from None
    if not count:
        raise UserError(f"{path}: holds no video frame; leave it out")


def _opened(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: does not decode as video ({reason}); leave it out or convert it") from None
    if not container.streams.video:
        container.close()
        raise UserError(f"{path}: holds no video stream; leave it out")
    return container


def _stated_frames(path: Path) -> int | None:
    with _opened(path) as container:
        stream = container.streams.video[0]
        if stream.frames:
            return stream.frames
        if stream.duration and stream.time_base and stream.average_rate:
            return round(float(stream.duration * stream.time_base * stream.average_rate))
        return None


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


def _shrunk(image: np.ndarray | None, longest_px: int | None) -> np.ndarray | None:
    if image is None or longest_px is None or max(image.shape[:2]) <= longest_px:
        return image
    shrink = longest_px / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
