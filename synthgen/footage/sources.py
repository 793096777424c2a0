"""Which files are packed, in which order and by what name; and their pictures, one after the other.

Every file is decoded once and never held whole (`posecore.pictures` does the decoding). The pictures of a folder stay
together, in the order of their numbers (frame2 before frame10). A picture's `clip` is its video or folder.
"""

from __future__ import annotations

import glob
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from posecore.dataset import MANIFEST_NAME
from posecore.errors import UserError
from posecore.pictures import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Picture,
    UnreadableError,
    natural_order,
    read_image,
    read_video,
    shrink,
)
from synthgen.footage.options import PackOptions

OnDamage = Callable[[str, int, UnreadableError], None]
"""Called with the name of what cannot be read, the pictures that came before, and the reason."""


@dataclass(frozen=True)
class Footage:
    """One thing to read: a video, or pictures of one folder.

    Attributes:
        name: of the video's file or the pictures' folder. picture_names: of the pictures, none for a video. Names that
            several bear are paths.
    """

    name: str
    paths: tuple[Path, ...]
    picture_names: tuple[str, ...] = ()

    @property
    def is_video(self) -> bool:
        return not self.picture_names


def find_footage(inputs: Sequence[str | Path]) -> list[Footage]:
    """List what the given files, folders and patterns hold, in a fixed order; each file once.

    Folders are searched in depth; what is hidden there, or is a packed dataset, is left out.

    Args:
        inputs: paths, or patterns with *, ?, [] and ** (folders in depth).

    Raises:
        UserError: a path does not exist, a pattern fits nothing, a file is of an unknown type, or a folder holds
            neither videos nor pictures.
    """
    files: dict[Path, Path] = {}
    for given in inputs:
        for path in _files_of(Path(given)):
            files.setdefault(path.resolve(), path)
    groups: dict[Path, list[Path]] = {}
    for path in files.values():
        groups.setdefault(path.parent.resolve() if _is_picture(path) else path, []).append(path)
    in_order = [sorted(paths, key=natural_order) for paths in groups.values()]
    picture_names = iter(_names([path for paths in in_order for path in paths if _is_picture(path)]))
    return [
        Footage(name, tuple(paths), tuple(next(picture_names) for path in paths if _is_picture(path)))
        for name, paths in zip(_names(list(groups)), in_order, strict=True)
    ]


def read_frames(footage: Footage, options: PackOptions, on_damage: OnDamage) -> Iterator[Picture]:
    """The chosen frames of a video, or pictures of a folder, shrunk to the working size.

    A video that breaks off ends there; a picture that does not decode is left out. Both are told to `on_damage`.
    """
    first, end = options.frames
    if not footage.is_video:
        for index in range(len(footage.paths))[first : end : options.frame_step]:
            name = footage.picture_names[index]
            try:
                image, alpha = read_image(footage.paths[index])
            except UnreadableError as error:
                on_damage(name, 0, error)
                continue
            small = shrink(image, options.working_size_px)
            small_alpha = None if alpha is None else shrink(alpha, options.working_size_px)
            scale = max(image.shape[:2]) / max(small.shape[:2])
            yield Picture(name, small, small_alpha, footage.name, index, float(index), scale=scale)
        return
    count = 0
    thinned = _by_time(options.frames_per_second) if options.frames_per_second else _by_step(first, options.frame_step)
    try:
        for picture in read_video(
            footage.paths[0],
            footage.name,
            options.working_size_px,
            is_wanted=lambda frame, time_s: frame >= first and thinned(frame, time_s),
            end=end,
        ):
            count += 1
            yield picture
    except UnreadableError as error:
        on_damage(footage.name, count, error)


def _files_of(given: Path) -> Iterator[Path]:
    """Videos and pictures that one input stands for."""
    if given.is_dir():
        if (given / MANIFEST_NAME).exists():
            raise UserError(f"{given}: is a dataset already; give videos, pictures or folders of them")
        inside = list(_files_in(given, set()))
        if not inside:
            raise UserError(f"{given}: no video or picture in this folder ({_known_suffixes()})")
        yield from inside
    elif given.exists():
        if not _is_known(given):
            raise UserError(f"{given}: unknown type {given.suffix!r}; known are {_known_suffixes()}")
        yield given
    elif glob.has_magic(str(given)):
        matches = sorted(map(Path, glob.glob(str(given), recursive=True)), key=natural_order)
        files = [path for path in matches if path.is_file() and _is_known(path)]
        folders = [path for path in matches if path.is_dir() and not (path / MANIFEST_NAME).exists()]
        inside = files + [path for folder in folders for path in _files_in(folder, set())]
        if not inside:
            raise UserError(f"{given}: fits no video or picture ({_known_suffixes()})")
        yield from inside
    else:
        raise UserError(f"{given}: no such file or folder; give videos, pictures, folders of them or patterns")


def _files_in(folder: Path, entered: set[Path]) -> Iterator[Path]:
    """In depth; a folder that links to one above it is entered once."""
    if folder.resolve() in entered or (folder / MANIFEST_NAME).exists():
        return
    entered.add(folder.resolve())
    entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_order)
    yield from (path for path in entries if path.is_file() and _is_video(path))
    yield from (path for path in entries if path.is_file() and _is_picture(path))
    for inner in entries:
        if inner.is_dir():
            yield from _files_in(inner, entered)


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many more as tell it from the others that end alike."""
    names = [path.name for path in paths]
    depth = 1
    while len(set(names)) < len(names):
        counts = Counter(names)
        depth += 1
        names = [
            "/".join(path.parts[-depth:]) if counts[name] > 1 else name for path, name in zip(paths, names, strict=True)
        ]
    return names


def _by_step(first: int, step: int) -> Callable[[int, float], bool]:
    return lambda frame, time_s: (frame - first) % step == 0


def _by_time(frames_per_second: float) -> Callable[[int, float], bool]:
    """The first frame in each of the even slots of time."""
    last = -1

    def is_first(frame: int, time_s: float) -> bool:
        nonlocal last
        slot = math.floor(time_s * frames_per_second + 1e-3)  # time stamps are rounded to their file's ticks
        is_new = slot > last
        last = max(last, slot)
        return is_new

    return is_first


def _is_known(path: Path) -> bool:
    return _is_picture(path) or _is_video(path)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _known_suffixes() -> str:
    return " ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
