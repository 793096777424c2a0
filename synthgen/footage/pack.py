"""Real, unlabelled footage into shards: decode, find who is where, cut steady square clips, drop what teaches nothing.

A clip is a run of frames of one subject cut out by ONE square, so that its background stands still and only the
subject moves: that is what the image renderer's pairs (x, x') need. A camera's own motion is taken out first. Boxes
are [x, y, width, height]; `crop` of a record is in pixels of the upright source. Everything is deterministic: the
same files and options give the same bytes. Every frame that is left out is counted, with its reason.

    sources -> shots (stabilise) -> subjects -> cutting -> writing

Calibrated videos are read side by side instead, their lenses undone (`views`).
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from posecore.box_files import BoxFile, read_box_file
from posecore.calibration import CalibratedCamera
from posecore.errors import UserError
from posecore.pictures import Picture, UnreadableError
from synthgen.footage.cutting import Clip, Cutter
from synthgen.footage.options import PackOptions
from synthgen.footage.shots import Ground, split_shots, standing_ground, still_grounds
from synthgen.footage.sources import Footage, find_footage, read_frames
from synthgen.footage.straight_boxes import StraightBoxes
from synthgen.footage.subjects import NOBODY, Located, find_tracks, locate
from synthgen.footage.views import View, Windows, match_cameras, straightened
from synthgen.footage.writing import ClipWriter, Damage, SourceCount


@dataclass(frozen=True)
class PackSummary:
    """What came of it.

    Attributes:
        frames_read: after thinning out. frames_kept: stored pictures (a frame with two subjects gives two).
        rejects: reason -> frames. damaged: what could not be read to its end.
        preview: a contact sheet with one picture of each of up to 60 clips.
    """

    out: Path
    frames_read: int
    frames_kept: int
    clips: int
    shards: int
    rejects: dict[str, int]
    sources: tuple[SourceCount, ...]
    damaged: tuple[Damage, ...]
    preview: Path


def pack(
    inputs: Sequence[str | Path],
    out: Path,
    options: PackOptions = PackOptions(),
    on_shot: Callable[[str, int], None] = lambda name, frames_read: None,
    on_source: Callable[[SourceCount], None] = lambda source: None,
) -> PackSummary:
    """Pack videos, pictures, folders and patterns of them into a dataset of kind "real".

    The folder `out` appears whole, by one rename, or not at all. A file that cannot be read is skipped, unless it is
    the only one or `strict`; of a video that breaks off the frames before are kept.

    Args:
        on_shot: called after each shot with the file's name and the frames read of it. on_source: after each file.

    Raises:
        UserError: `out` holds something, an input is missing, boxes cannot be read, or nothing was worth keeping.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; choose another --out or remove it")
    footage = find_footage(inputs)
    box_file = _open_boxes(options, footage)
    cameras = []
    if options.calibration is not None:
        cameras = match_cameras(footage, options.calibration, options.calibration_unit)
    rejects: Counter[str] = Counter()
    sources: list[SourceCount] = []
    damaged: list[Damage] = []
    is_alone = len(footage) == 1 and len(footage[0].paths) == 1

    def note_damage(name: str, frames_read: int, error: UnreadableError) -> None:
        if options.strict or (is_alone and frames_read == 0):
            raise error
        damaged.append(Damage(name, frames_read, error.reason))

    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.parent / f".{out.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # of a process of this number that was killed
    temporary.mkdir()
    try:
        writer = ClipWriter(temporary, out.name, options)
        bench = _Bench(options, writer, Cutter(options, rejects), rejects, on_shot)
        frames = [read_frames(item, options, note_damage) for item in footage]
        if options.calibration is None:
            counts = _pack_files(footage, frames, box_file, bench)
        else:
            counts = _pack_views(footage, cameras, frames, box_file, bench)
        for count in counts:
            sources.append(count)
            on_source(count)
        if writer.frames == 0:
            raise UserError(_nothing_kept(footage, options, box_file, rejects, sources, damaged))
        writer.finish(rejects, sources, damaged)
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return PackSummary(
        out=out,
        frames_read=sum(source.frames_read for source in sources),
        frames_kept=writer.frames,
        clips=writer.clips,
        shards=len(writer.shards),
        rejects=dict(rejects),
        sources=tuple(sources),
        damaged=tuple(damaged),
        preview=out / "preview.png",
    )


@dataclass(frozen=True)
class _Bench:
    """What all footage of one packing goes through."""

    options: PackOptions
    writer: ClipWriter
    cutter: Cutter
    rejects: Counter[str]
    on_shot: Callable[[str, int], None]


def _pack_files(
    footage: Sequence[Footage], frames: Sequence[Iterator[Picture]], box_file: BoxFile | None, bench: _Bench
) -> Iterator[SourceCount]:
    """Write the clips of one file after the other, and count what came of each."""
    for item, pictures in zip(footage, frames, strict=True):
        read, kept_before = 0, bench.writer.frames
        for shot in _shots(pictures, item, bench.options):
            read += len(shot)
            for clip in _clips_of_shot(shot, item.is_video, box_file, bench):
                bench.writer.add(clip)
            bench.on_shot(item.name, read)
        yield SourceCount(item.name, read, bench.writer.frames - kept_before)


def _pack_views(
    footage: Sequence[Footage],
    cameras: Sequence[CalibratedCamera],
    frames: Sequence[Iterator[Picture]],
    box_file: BoxFile | None,
    bench: _Bench,
) -> list[SourceCount]:
    """Write the clips of calibrated videos, window by window, and count what came of each video."""
    straight = [straightened(video, camera) for video, camera in zip(frames, cameras, strict=True)]
    boxes = [None if box_file is None else StraightBoxes(box_file, camera) for camera in cameras]
    read, kept = [0] * len(footage), [0] * len(footage)
    together = Windows(straight, bench.options.window_frames * bench.options.frame_step)
    for first in together:
        views: list[View] = []
        for place, (item, camera) in enumerate(zip(footage, cameras, strict=True)):
            shot = together.take(place, first)
            read[place] += len(shot)
            clips = list(_clips_of_shot(shot, True, boxes[place], bench, stands_still=True))
            views += [View(clip, camera) for clip in clips]
            kept[place] += sum(len(clip.frames) for clip in clips)
            bench.on_shot(item.name, read[place])
        bench.writer.add_views(views)
    return [SourceCount(item.name, *counts) for item, *counts in zip(footage, read, kept, strict=True)]


def _open_boxes(options: PackOptions, footage: Sequence[Footage]) -> BoxFile | None:
    if options.boxes is None:
        return None
    file = read_box_file(options.boxes, options.min_box_score, options.box_category)
    has_video = any(item.is_video for item in footage)
    if len(footage) > 1 and (file.is_nameless or (file.by_number and has_video)):
        raise UserError(
            f"{options.boxes}: numbers frames but names no video, so it fits one input only; add their names"
        )
    return file


def _shots(frames: Iterator[Picture], footage: Footage, options: PackOptions) -> Iterator[list[Picture]]:
    if options.stills and not footage.is_video:
        return ([frame] for frame in frames)
    return split_shots(frames, options.window_frames)


def _clips_of_shot(
    shot: list[Picture],
    is_video: bool,
    box_file: BoxFile | StraightBoxes | None,
    bench: _Bench,
    stands_still: bool = False,
) -> Iterator[Clip]:
    options, cutter, rejects = bench.options, bench.cutter, bench.rejects
    sound = [frame for frame in shot if not frame.is_damaged]
    if len(sound) < len(shot):
        rejects["damaged"] += len(shot) - len(sound)
    if not sound:
        return
    shot = sound
    if len(shot) < options.min_clip_frames and is_video:
        rejects["in shots that are too short"] += len(shot)
        return
    located = locate(shot, options, box_file)
    if len(shot) < options.min_clip_frames:
        for position, frame in enumerate(shot):
            boxes = [None] if located is None else list(located[position].values())
            if not boxes:
                rejects[NOBODY[options.subjects]] += 1
            for box in boxes:
                yield from cutter.still(frame, box)
        return
    grounds = [standing_ground(shot)] if stands_still else _grounds(shot, located, options)
    for ground in grounds:
        for track in find_tracks(ground, located, options, rejects):
            yield from cutter.clips(ground, track)


def _grounds(shot: list[Picture], located: Located | None, options: PackOptions) -> Iterator[Ground]:
    """What is cut out by alpha, or as a whole, has no ground that could move; where nobody is none is needed."""
    match options.subjects:
        case "motion":
            yield from still_grounds(shot)
        case "boxes" if any(located):
            yield from still_grounds(shot, [list(boxes.values()) for boxes in located])
        case _:
            yield Ground(shot)


def _nothing_kept(
    footage: Sequence[Footage],
    options: PackOptions,
    box_file: BoxFile | None,
    rejects: Counter[str],
    sources: Sequence[SourceCount],
    damaged: Sequence[Damage],
) -> str:
    frames_read = sum(source.frames_read for source in sources)
    if frames_read == 0:
        return f"none of {len(damaged)} files can be read; the first: {damaged[0].name} {damaged[0].reason}"
    if box_file is not None and rejects[NOBODY["boxes"]] == frames_read:
        name = footage[0].name if footage[0].is_video else footage[0].picture_names[0]
        return (
            f"{options.boxes}: none of its boxes fits a frame: it says {box_file.an_entry()}, the footage is called "
            f"{name}; or all are below --min-box-score, or outside"
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.most_common())
    return f"nothing worth keeping in {frames_read} frames ({reasons}); try --subjects frame or --boxes"
