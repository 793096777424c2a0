"""Real, unlabelled footage into shards: decode, find who moves, cut steady square clips, drop what teaches nothing.

A clip is a run of frames of one subject cut out by ONE square, so that its background stands still and only the
subject moves: that is what the image renderer's pairs (x, x') need. A camera's own motion is taken out first. Boxes
are [x, y, width, height]; `crop` of a record is in pixels of the upright source. Everything is deterministic: the
same files and options give the same bytes. Every frame that is left out is counted, with its reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from posecore.codec import encode_image, encode_real
from posecore.dataset import Manifest, Shard, ShardWriter, write_manifest
from posecore.errors import UserError
from posecore.motion import Track, find_moving_subjects, union_box
from posecore.overlay import contact_sheet
from posecore.sample import RealFrame, make_key
from synthgen.footage.stabilise import camera_path, lay_on_canvas, reach_on_canvas, scale_path, steady_parts
from synthgen.footage.video import Footage, VideoFrame, find_footage, read_frames

_TRACKING_SIZE_PX = 320
_CUT_DIFFERENCE = 30.0  # mean change in grey levels between tiny copies of neighbouring frames: beyond it the shot ends
_TYPICAL_PERCENTILE = 80  # of a track's box sides: what counts as the subject's size while parts of it stand still
_MAX_GROWTH = 1.5  # a clip ends where the square round it would exceed this many typical sides
_MAX_OVERHANG = (
    1.3  # a square may exceed the picture's shorter side by this factor; beyond it is mostly invented border
)
_BLUR_OF_MEDIAN = 0.35  # sharpness (variance of the Laplacian) below this part of the clip's median is a blurred frame
_BLUR_FLOOR = 8.0
_DUPLICATE_DIFFERENCE = 3.0  # grey levels in the most changed of 16 x 16 blocks: below it nobody moved
_PREVIEW_PICTURES = 60
_MAX_BEYOND = 0.25  # of a crop that a stabilised picture need not fill


@dataclass(frozen=True)
class PackOptions:
    """How footage is cut.

    Attributes:
        size_px: side of the stored pictures. quality: of their JPEGs.
        subjects: "motion" follows what moves, "frame" takes the largest centred square of the whole frame, "boxes"
            reads `boxes`.
        boxes: JSON file {"cam01.mp4": [x, y, w, h] or {"frame": [x, y, w, h], ...}}, in pixels of the upright source;
            between given frames boxes are interpolated. Pictures of a folder go by their own file names.
        max_subjects: the liveliest so many at a time.
        frame_step: take every n-th frame.
        clip_frames, min_clip_frames: longest and shortest clip. margin: side of a clip's square by the side of its
            subject's box.
        min_subject_px: subjects whose square would be smaller in the source are left out.
        licence: of the footage, recorded in dataset.json.
        working_size_px: frames are shrunk to this longer side while they are worked on. window_frames: frames held at
            a time.
        frames_per_shard: a shard is closed at the first end of a clip beyond this.
    """

    size_px: int = 160
    quality: int = 92
    subjects: Literal["motion", "frame", "boxes"] = "motion"
    boxes: Path | None = None
    max_subjects: int = 2
    frame_step: int = 1
    clip_frames: int = 32
    min_clip_frames: int = 6
    margin: float = 1.1
    min_subject_px: int = 64
    licence: str = ""
    working_size_px: int = 960
    window_frames: int = 240
    frames_per_shard: int = 512

    def __post_init__(self) -> None:
        if self.subjects == "boxes" and self.boxes is None:
            raise UserError('subjects "boxes" needs a JSON file of boxes; give it with --boxes')
        if not 2 <= self.min_clip_frames <= self.clip_frames <= 99:
            raise UserError(
                "clips must have 2 to 99 frames, "
                f"got min_clip_frames={self.min_clip_frames}, clip_frames={self.clip_frames}"
            )
        for name in ("size_px", "frame_step", "max_subjects", "min_subject_px", "frames_per_shard"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class PackSummary:
    """What came of it.

    Attributes:
        frames_read: after `frame_step`. frames_kept: stored pictures (a frame with two subjects gives two).
        rejects: reason -> frames. sources: (name, frames read, pictures kept) of each file.
        preview: a contact sheet with one picture of each of up to 60 clips.
    """

    out: Path
    frames_read: int
    frames_kept: int
    clips: int
    shards: int
    rejects: dict[str, int]
    sources: tuple[tuple[str, int, int], ...]
    preview: Path


def pack(
    inputs: list[Path],
    out: Path,
    options: PackOptions | None = None,
    on_source: Callable[[str, int, int], None] | None = None,
) -> PackSummary:
    """Pack videos, pictures and folders of them into a dataset of kind "real".

    The folder `out` appears whole, by one rename, or not at all.

    Args:
        on_source: called after each file with its name, frames read and pictures kept.

    Raises:
        UserError: `out` holds something, an input is missing or does not decode, or nothing was worth keeping.
    """
    options = options or PackOptions()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; choose another --out or remove it")
    footage = find_footage(inputs)
    given_boxes = _read_boxes(options.boxes) if options.subjects == "boxes" else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.parent / f".{out.name}.{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        writer = _ClipWriter(temporary, out.name, options)
        rejects: Counter[str] = Counter()
        sources = []
        for item in footage:
            read, kept_before = 0, writer.frames
            for shot in _shots(read_frames(item, options.working_size_px, options.frame_step), options.window_frames):
                read += len(shot)
                for clip in _clips_of_shot(shot, item, options, given_boxes, rejects):
                    writer.add(clip)
            sources.append((item.name, read, writer.frames - kept_before))
            if on_source is not None:
                on_source(*sources[-1])
        if writer.frames == 0:
            reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.most_common())
            raise UserError(
                f"nothing worth keeping in {len(footage)} files ({reasons}); try --subjects frame or --boxes"
            )
        writer.finish(rejects, sources)
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return PackSummary(
        out=out,
        frames_read=sum(read for _, read, _ in sources),
        frames_kept=writer.frames,
        clips=writer.clips,
        shards=len(writer.shards),
        rejects=dict(rejects),
        sources=tuple(sources),
        preview=out / "preview.png",
    )


@dataclass(frozen=True)
class _Clip:
    """Frames of one subject, cut out by one square.

    Attributes:
        square: x, y, side in pixels of the source; where the camera moved, of the first frame of its steady part.
    """

    source: str
    square: tuple[float, float, float]
    frames: tuple[VideoFrame, ...]
    pictures: tuple[np.ndarray, ...]
    is_stabilised: bool = False


@dataclass(frozen=True)
class _Ground:
    """A run of frames over a ground that stands still: as they are, or laid on a canvas with the camera's motion
    taken out.

    Attributes:
        reach: bool [T, H, W], where each picture lies on the canvas; None where the camera stood still.
        origin: where the source's corner lies on the canvas, in working pixels.
        small: uint8 [T, h, w, 3], the frames at tracking size; None where nothing is tracked.
    """

    frames: list[VideoFrame]
    small: np.ndarray | None = None
    reach: np.ndarray | None = None
    origin: tuple[float, float] = (0.0, 0.0)


def _shots(frames: Iterator[VideoFrame], window_frames: int) -> Iterator[list[VideoFrame]]:
    """Runs of frames of one camera: ended by a cut, another picture size, or the window's length.

    A quarter window is read ahead, so that what is left at the end of a shot is never a stub.
    """
    shot: list[VideoFrame] = []
    previous = None
    for frame in frames:
        tiny = cv2.resize(frame.image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        if shot and (frame.image.shape != shot[-1].image.shape or np.abs(tiny - previous).mean() > _CUT_DIFFERENCE):
            yield shot
            shot = []
        if len(shot) >= window_frames + window_frames // 4:
            yield shot[:window_frames]
            shot = shot[window_frames:]
        shot.append(frame)
        previous = tiny
    if shot:
        yield shot


def _clips_of_shot(
    shot: list[VideoFrame],
    footage: Footage,
    options: PackOptions,
    given_boxes: dict[str, dict[int, np.ndarray]],
    rejects: Counter[str],
) -> Iterator[_Clip]:
    if len(shot) < options.min_clip_frames:
        if footage.is_video:
            rejects["in shots that are too short"] += len(shot)
            return
        for frame in shot:
            yield from _still(frame, footage, options, given_boxes, rejects)
        return
    for ground in _grounds(shot) if options.subjects == "motion" else [_Ground(shot)]:
        tracks = _tracks(ground, footage, options, given_boxes)
        if not tracks:
            reason = "where nothing moves" if options.subjects == "motion" else "without a box"
            rejects[reason] += len(ground.frames)
        for track in tracks:
            for positions in _steady_runs(track, options):
                shape = ground.frames[0].image.shape
                square = _square(track.boxes[positions], _typical_side(track), options.margin, shape)
                yield from _cut(ground, track.frames[positions], footage, square, options, rejects)


def _grounds(shot: list[VideoFrame]) -> Iterator[_Ground]:
    """The shot itself if its camera stands still, else its steady parts, one at a time: they are copies."""
    small = _shrunk(shot)
    path = camera_path(small)
    if path is None:
        yield _Ground(shot, small)
        return
    height, width = shot[0].image.shape[:2]
    for part in steady_parts(scale_path(path, width / small.shape[2]), width, height):
        frames = shot[part.first : part.last]
        laid = [
            replace(frame, image=lay_on_canvas(frame.image, to_canvas, part.canvas))
            for frame, to_canvas in zip(frames, part.to_canvas, strict=True)
        ]
        reach = np.stack([reach_on_canvas((height, width), to_canvas, part.canvas) for to_canvas in part.to_canvas])
        yield _Ground(laid, _shrunk(laid), reach, part.origin)


def _shrunk(frames: list[VideoFrame]) -> np.ndarray:
    """[T, H, W, 3] copies at tracking size."""
    height, width = frames[0].image.shape[:2]
    factor = min(1.0, _TRACKING_SIZE_PX / max(width, height))
    size = (round(width * factor), round(height * factor))
    return np.stack([cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in frames])


def _still(
    frame: VideoFrame,
    footage: Footage,
    options: PackOptions,
    given_boxes: dict[str, dict[int, np.ndarray]],
    rejects: Counter[str],
) -> Iterator[_Clip]:
    """A lone picture: a clip of one frame."""
    name = footage.paths[frame.index].name
    if options.subjects == "boxes":
        if name not in given_boxes:
            rejects["without a box"] += 1
            return
        box = next(iter(given_boxes[name].values())) / frame.scale
        square = _square(box[None], max(box[2:]), options.margin, frame.image.shape)
    else:
        square = _whole_frame(frame.image.shape)
    picture = _cut_square(frame.image, square, options.size_px)
    yield _Clip(name, _in_source(square, frame.scale), (frame,), (picture,))


def _tracks(
    ground: _Ground,
    footage: Footage,
    options: PackOptions,
    given_boxes: dict[str, dict[int, np.ndarray]],
) -> list[Track]:
    """Subjects on a ground; boxes in working pixels."""
    shot = ground.frames
    height, width = shot[0].image.shape[:2]
    if options.subjects == "frame":
        box = np.array([0.0, 0.0, width, height])
        return [Track(np.arange(len(shot)), np.repeat(box[None], len(shot), axis=0), 1.0)]
    if options.subjects == "boxes":
        return _given_tracks(shot, footage, given_boxes)
    size = (ground.small.shape[2], ground.small.shape[1])
    scale = np.array([width / size[0], height / size[1]] * 2)
    reach = None
    if ground.reach is not None:
        reach = np.stack(
            [cv2.resize(one.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for one in ground.reach]
        )
        reach = reach.astype(bool)
    found = find_moving_subjects(ground.small, options.min_clip_frames, reach)
    tracks = [Track(track.frames, track.boxes * scale, track.activity) for track in found]
    kept: list[Track] = []
    for track in tracks:
        alongside = sum(bool(np.intersect1d(track.frames, other.frames).size) for other in kept)
        if alongside < options.max_subjects:
            kept.append(track)
    return kept


def _given_tracks(
    shot: list[VideoFrame], footage: Footage, given_boxes: dict[str, dict[int, np.ndarray]]
) -> list[Track]:
    if footage.is_video:
        known = given_boxes.get(footage.name, {})
    else:
        names = {frame.index: footage.paths[frame.index].name for frame in shot}
        known = {index: next(iter(given_boxes[name].values())) for index, name in names.items() if name in given_boxes}
    if not known:
        return []
    places = sorted(known)
    inside = [position for position, frame in enumerate(shot) if places[0] <= frame.index <= places[-1]]
    if len(places) == 1:
        inside = list(range(len(shot)))
    if not inside:
        return []
    indices = [shot[position].index for position in inside]
    boxes = np.stack([np.interp(indices, places, [known[p][side] for p in places]) for side in range(4)], axis=1)
    return [Track(np.array(inside), boxes / shot[0].scale, 1.0)]


def _steady_runs(track: Track, options: PackOptions) -> Iterator[list[int]]:
    """Positions in a track, cut into runs over which the subject keeps to one place, no longer than a clip.

    The longest possible runs are taken greedily and then shared out evenly, so that no stub is left at the end.
    """
    limit = _MAX_GROWTH * _typical_side(track)
    start = 0
    while start < len(track.frames):
        end = start + 1
        while end < len(track.frames) and max(union_box(track.boxes[start : end + 1])[2:]) <= limit:
            end += 1
        pieces = -(-(end - start) // options.clip_frames)
        for run in np.array_split(np.arange(start, end), pieces):
            yield run.tolist()
        start = end


def _typical_side(track: Track) -> float:
    return float(np.percentile(track.boxes[:, 2:].max(axis=1), _TYPICAL_PERCENTILE))


def _square(
    boxes: np.ndarray, typical_side: float, margin: float, shape: tuple[int, ...]
) -> tuple[float, float, float]:
    """x, y, side of the square round all boxes, moved into the picture as far as it fits.

    It never is smaller than the subject's typical size: where only an arm moved, the rest of the body is still there.
    """
    height, width = shape[:2]
    x, y, box_width, box_height = union_box(boxes)
    side = min(max(box_width, box_height, typical_side) * margin, _MAX_OVERHANG * min(width, height))
    left, top = x + box_width / 2 - side / 2, y + box_height / 2 - side / 2
    left = np.clip(left, 0, width - side) if side <= width else (width - side) / 2
    top = np.clip(top, 0, height - side) if side <= height else (height - side) / 2
    return float(left), float(top), float(side)


def _whole_frame(shape: tuple[int, ...]) -> tuple[float, float, float]:
    height, width = shape[:2]
    side = float(min(height, width))
    return (width - side) / 2, (height - side) / 2, side


def _cut(
    ground: _Ground,
    positions: np.ndarray,
    footage: Footage,
    square: tuple[float, float, float],
    options: PackOptions,
    rejects: Counter[str],
) -> Iterator[_Clip]:
    """Cut the square out of a run of frames and drop what is blurred or repeats; yields at most one clip."""
    if ground.reach is not None:
        beyond = np.array([_share_beyond(ground.reach[position], square) for position in positions])
        if (beyond > _MAX_BEYOND).any():
            rejects["whose crop the moving camera leaves"] += int((beyond > _MAX_BEYOND).sum())
        positions = positions[beyond <= _MAX_BEYOND]
        if len(positions) == 0:
            return
    frames = [ground.frames[position] for position in positions]
    scale = frames[0].scale
    if options.subjects == "frame":
        square = _whole_frame(frames[0].image.shape)
    elif square[2] * scale < options.min_subject_px:
        rejects["with a subject that is too small"] += len(frames)
        return
    pictures = [_cut_square(frame.image, square, options.size_px) for frame in frames]
    sharpness = np.array([_sharpness(picture) for picture in pictures])
    enough = max(_BLUR_FLOOR, _BLUR_OF_MEDIAN * float(np.median(sharpness)))
    kept: list[int] = []
    for position, picture in enumerate(pictures):
        if sharpness[position] < enough:
            rejects["blurred"] += 1
        elif kept and _largest_change(picture, pictures[kept[-1]]) < _DUPLICATE_DIFFERENCE:
            rejects["without movement since the last"] += 1
        else:
            kept.append(position)
    if len(kept) < options.min_clip_frames:
        if kept:
            rejects["in clips that are too short"] += len(kept)
        return
    name = footage.name if footage.is_video else footage.paths[frames[0].index].parent.name
    in_source = _in_source((square[0] - ground.origin[0], square[1] - ground.origin[1], square[2]), scale)
    is_stabilised = ground.reach is not None
    yield _Clip(name, in_source, tuple(frames[p] for p in kept), tuple(pictures[p] for p in kept), is_stabilised)


def _cut_square(image: np.ndarray, square: tuple[float, float, float], size_px: int) -> np.ndarray:
    """The square, its overhang filled by repeating the border, at `size_px`."""
    x, y, side = (round(value) for value in square)
    height, width = image.shape[:2]
    inside = image[max(0, y) : min(height, y + side), max(0, x) : min(width, x + side)]
    overhang = (max(0, -y), max(0, y + side - height), max(0, -x), max(0, x + side - width))
    if any(overhang):
        inside = cv2.copyMakeBorder(inside, *overhang, cv2.BORDER_REPLICATE)
    return cv2.resize(inside, (size_px, size_px), interpolation=cv2.INTER_AREA if side > size_px else cv2.INTER_CUBIC)


def _share_beyond(reach: np.ndarray, square: tuple[float, float, float]) -> float:
    """Part of the square that a stabilised picture does not show."""
    x, y, side = (round(value) for value in square)
    height, width = reach.shape
    shown = reach[max(0, y) : min(height, y + side), max(0, x) : min(width, x + side)].sum()
    return 1 - float(shown) / side**2


def _sharpness(picture: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def _largest_change(first: np.ndarray, second: np.ndarray) -> float:
    """Mean change in grey levels of the block, of 16 x 16, that changed most."""
    difference = cv2.absdiff(first, second).astype(np.float32).mean(axis=-1)
    return float(cv2.resize(difference, (16, 16), interpolation=cv2.INTER_AREA).max())


def _in_source(square: tuple[float, float, float], scale: float) -> tuple[float, float, float]:
    x, y, side = (round(value) * scale for value in square)
    return x, y, side


@dataclass
class _ClipWriter:
    """Collects clips into tars; a clip is never split between two."""

    folder: Path
    name: str
    options: PackOptions
    frames: int = 0
    clips: int = 0
    shards: list[Shard] = field(default_factory=list)
    _records: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    _preview: list[np.ndarray] = field(default_factory=list)
    _preview_step: int = 1

    def add(self, clip: _Clip) -> None:
        name = f"{Path(clip.source).stem}-{self.clips:06d}"
        x, y, side = clip.square
        for index, (frame, picture) in enumerate(zip(clip.frames, clip.pictures, strict=True)):
            key = make_key(self.clips, index, 0)
            real = RealFrame(
                key=key,
                image=picture,
                clip=name,
                frame=frame.index,
                time_s=frame.time_s,
                crop=(x, y, side, side),
                source=clip.source,
                extra={"stabilised": True} if clip.is_stabilised else {},
            )
            self._records.append((key, encode_real(real, self.options.quality)))
        if self.clips % self._preview_step == 0:
            self._preview.append(clip.pictures[len(clip.pictures) // 2])
            if len(self._preview) == 2 * _PREVIEW_PICTURES:
                self._preview, self._preview_step = self._preview[::2], 2 * self._preview_step
        self.frames += len(clip.frames)
        self.clips += 1
        if len(self._records) >= self.options.frames_per_shard:
            self._close_shard()

    def finish(self, rejects: Counter[str], sources: list[tuple[str, int, int]]) -> None:
        if self._records:
            self._close_shard()
        step = -(-len(self._preview) // _PREVIEW_PICTURES)
        sheet = contact_sheet(self._preview[::step], columns=10)
        (self.folder / "preview.png").write_bytes(encode_image(sheet, "png"))
        recipe = {name: value for name, value in asdict(self.options).items() if name != "boxes"}
        manifest = Manifest(
            name=self.name,
            kind="real",
            shards=tuple(self.shards),
            recipe=recipe,
            recipe_hash=hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
            licences=[{"source": name, "licence": self.options.licence or "not stated"} for name, _, _ in sources],
            rejects=dict(sorted(rejects.items())),
            statistics={
                "frames_read": sum(read for _, read, _ in sources),
                "frames_kept": self.frames,
                "clips": self.clips,
                "sources": [{"name": name, "frames_read": read, "frames_kept": kept} for name, read, kept in sources],
            },
        )
        write_manifest(self.folder, manifest)

    def _close_shard(self) -> None:
        with ShardWriter(self.folder / f"{self.name}-{len(self.shards):06d}.tar") as writer:
            for key, members in self._records:
                writer.add(key, members)
        self.shards.append(writer.shard)
        self._records = []


def _read_boxes(path: Path) -> dict[str, dict[int, np.ndarray]]:
    """File name -> frame -> box."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        boxes = {}
        for name, given in content.items():
            by_frame = given if isinstance(given, dict) else {"0": given}
            boxes[name] = {int(frame): np.array(box, dtype=np.float64) for frame, box in by_frame.items()}
            if any(box.shape != (4,) or not (box[2:] > 0).all() for box in boxes[name].values()):
                raise ValueError(f"{name}: a box is [x, y, width, height] with a size above 0")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f'{path}: cannot be read as boxes ({error}); write {{"cam01.mp4": {{"0": [x, y, w, h]}}}}'
        ) from None
    return boxes
