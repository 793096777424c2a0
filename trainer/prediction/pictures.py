"""What is predicted on: picture files, folders of them, videos and packed datasets become one stream of pictures.

How a file becomes upright pictures is `posecore.pictures`; here is which files, in which order and by what name. They
are read one picture after the other, never held whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posecore.codec import decode_image, image_member, read_meta
from posecore.dataset import MANIFEST_NAME, iterate_dataset, read_manifest
from posecore.errors import UserError
from posecore.pictures import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Picture,
    Subject,
    natural_order,
    open_video,
    read_image,
    read_video,
    shrink,
)


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
            shown = (entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
            inside = sorted(shown, key=natural_order)
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
            with open_video(source.path) as container:
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
            yield from read_video(source.path, source.name, longest_px)
        case Stills():
            for index, (path, name) in enumerate(zip(source.paths, source.names, strict=True)):
                image, alpha = read_image(path)
                alpha = None if alpha is None else shrink(alpha, longest_px)
                image = shrink(image, longest_px)
                if source.rate is None:
                    yield Picture(name, image, alpha, clip=name)
                else:
                    yield Picture(name, image, alpha, source.name, index, index / source.rate)
        case PackedDataset():
            for key, members in iterate_dataset(source.location):
                image = shrink(decode_image(image_member(members), key), longest_px)
                yield _packed_picture(source.prefix, key, image, read_meta(members))


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


def _stated_frames(path: Path) -> int | None:
    with open_video(path) as container:
        stream = container.streams.video[0]
        if stream.frames:
            return stream.frames
        if stream.duration and stream.time_base and stream.average_rate:
            return round(float(stream.duration * stream.time_base * stream.average_rate))
        return None
