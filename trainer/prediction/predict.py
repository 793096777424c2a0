"""From files to files: pictures and video in; JSON, tables, BVH and overlays out.

Everything is read once in a stream and predicted in batches; predictions are small and kept, pixels are not. Movement,
where boxes come from it, is looked for in a reading before; overlays are drawn in a reading after.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from posecore.box_files import MIN_SCORE, BoxFile, read_box_file
from posecore.boxes import Finder, IdKeeper, from_alpha, inside_picture, whole_picture
from posecore.errors import UserError
from posecore.pictures import Picture, Subject
from posecore.skeleton import load_skeleton
from trainer.prediction.bvh import at_even_rate, write_bvh
from trainer.prediction.formats import Seen, by_clip, write_coco, write_dlc, write_json, write_table
from trainer.prediction.motion_boxes import find_motion_boxes
from trainer.prediction.overlay import check_overlay, write_overlay
from trainer.prediction.pictures import Source, find_sources, frame_rate, num_clips, num_pictures, read_pictures
from trainer.prediction.predictor import PosePredictor, Prediction, skeleton_weights
from trainer.prediction.smoothing import smooth

BOXES = ("alpha", "motion", "frame")
"""What `boxes` may say besides a file."""


@dataclass(frozen=True)
class Outputs:
    """Files to write besides the JSON; None: not that one.

    Attributes:
        table: csv, a line for each joint. coco: COCO's results.
        dlc: DeepLabCut's csv; bvh: motion. Both hold one clip (BVH one subject of it); for several the path is a
            folder, told by having no suffix.
        overlay: a picture, a video, or a folder without suffix.
    """

    table: Path | None = None
    dlc: Path | None = None
    coco: Path | None = None
    bvh: Path | None = None
    overlay: Path | None = None


@dataclass(frozen=True)
class Summary:
    """What `predict_files` did.

    Attributes:
        predictions: as written. seen: every picture looked at. images_per_s: reading, predicting and all between.
        outside: boxes left out because they lie beside their picture.
    """

    predictions: list[Prediction]
    seen: list[Seen]
    images_per_s: float
    outside: int

    @property
    def empty(self) -> int:
        """Pictures in which nobody was found."""
        return len({picture.name for picture in self.seen} - {one.image for one in self.predictions})


def predict_files(
    checkpoint: str | Path,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    boxes: str | Path | None = None,
    outputs: Outputs = Outputs(),
    skeleton: str | None = None,
    smooth_s: float | None = None,
    flip_test: bool = False,
    stills_rate: float | None = None,
    min_box_score: float = MIN_SCORE,
    box_category: int | None = None,
    batch_size: int = 16,
    device: Any = "auto",
) -> Summary:
    """Predict on files and write JSON, and what else is asked for.

    Args:
        checkpoint: run folder, one of its step_... folders, or an exported .onnx file.
        inputs: pictures, videos, folders of them, packed datasets.
        boxes: a file (`posecore.box_files`), "alpha", "motion" or "frame"; None: a labelled dataset's own, else the
            whole picture.
        skeleton: joints to answer in; BVH keeps the trained ones.
        smooth_s: window of the smoothing over time, or None.
        flip_test: mean with the prediction on the mirrored crop.
        stills_rate: frames a second; picture files are then the frames of a clip.
        min_box_score, box_category: which detections of a file count.

    Raises:
        UserError: something cannot be read, written or found.
    """
    predictor = PosePredictor.load(checkpoint, device=device, flip_test=flip_test, batch_size=batch_size)
    if skeleton is not None:
        skeleton_weights(predictor.skeleton, load_skeleton(skeleton))
    if outputs.overlay is not None:
        check_overlay(outputs.overlay)
    sources = find_sources(inputs, stills_rate)
    finder = _open_boxes(boxes, sources, min_box_score, box_category)
    found, seen, outside, seconds = _predict_all(predictor, sources, finder)
    if not found:
        raise UserError(_nobody(finder, seen))
    if smooth_s is not None:
        found = smooth(found, smooth_s)
    answers = found if skeleton is None else [one.in_skeleton(skeleton) for one in found]
    write_json(out, answers)
    if outputs.table is not None:
        write_table(outputs.table, answers)
    if outputs.coco is not None:
        write_coco(outputs.coco, answers, seen)
    if outputs.dlc is not None:
        _write_dlc_files(outputs.dlc, answers, seen, f"posesynth_{Path(checkpoint).stem}")
    rate = frame_rate(sources) or 25.0
    if outputs.bvh is not None:
        _write_motions(outputs.bvh, found, rate)
    if outputs.overlay is not None:
        _draw(outputs.overlay, sources, answers, rate, with_boxes=boxes not in (None, "frame"))
    return Summary(answers, seen, len(seen) / max(seconds, 1e-9), outside)


def _open_boxes(boxes: str | Path | None, sources: Sequence[Source], min_score: float, category: int | None) -> Finder:
    match boxes if boxes is None else str(boxes):
        case None:
            return whole_picture
        case "frame":
            return lambda _: [Subject(None, 1)]
        case "alpha":
            return from_alpha
        case "motion":
            with _progress("looking for movement", num_pictures(sources)) as advance:
                return find_motion_boxes(sources, advance)
        case name:
            if not Path(name).is_file():
                raise UserError(f"--boxes {name}: no such file, and none of {', '.join(BOXES)}")
            file = read_box_file(Path(name), min_score, category)
            has_frames = frame_rate(sources) is not None
            if num_clips(sources) != 1 and (file.is_nameless or (file.by_number and has_frames)):
                raise UserError(f"{name}: numbers frames but names no clip, so it fits one input only; add their names")
            return file


def _predict_all(
    predictor: PosePredictor, sources: Sequence[Source], finder: Finder
) -> tuple[list[Prediction], list[Seen], int, float]:
    """Predictions, the pictures looked at, how many boxes lay outside, and the seconds that it took."""
    seen: list[Seen] = []
    outside = 0

    def pairs() -> Iterator[tuple[Picture, list[Subject]]]:
        nonlocal outside
        with_ids = IdKeeper()
        for source in sources:
            for picture in read_pictures(source):
                seen.append(Seen(picture.name, picture.clip, picture.frame, picture.time_s))
                subjects = finder(picture)
                inside = inside_picture(picture, subjects)
                outside += len(subjects) - len(inside)
                yield picture, with_ids(picture, inside)

    found: list[Prediction] = []
    start = time.perf_counter()
    with _progress("predicting", num_pictures(sources)) as advance:
        for several in predictor.predict(pairs()):
            found += several
            advance()
    return found, seen, outside, time.perf_counter() - start


def _nobody(finder: Finder, seen: Sequence[Seen]) -> str:
    if isinstance(finder, BoxFile):
        return (
            f"{finder.path}: none of its boxes fits a picture: it says {finder.an_entry()}, the pictures are called "
            f"{seen[0].name}; or all are below --min-box-score, or outside"
        )
    return f"nobody found in {len(seen)} pictures; choose other --boxes"


def _write_motions(path: Path, predictions: Sequence[Prediction], rate: float) -> None:
    tracks: dict[tuple[str, int], list[Prediction]] = defaultdict(list)
    for one in predictions:
        tracks[one.clip, one.id].append(one)
    if path.suffix and len(tracks) > 1:
        clips = len({clip for clip, _ in tracks})
        raise UserError(
            f"{path}: a BVH file holds one subject of one clip, here are {len(tracks)} in {clips}; give a folder "
            "(a path without suffix), or choose one by --boxes"
        )
    for (clip, subject), track in tracks.items():
        target = path if path.suffix else path / f"{_file_stem(clip)}-{subject}.bvh"
        write_bvh(target, at_even_rate(track, rate), rate)


def _write_dlc_files(path: Path, predictions: Sequence[Prediction], seen: Sequence[Seen], scorer: str) -> None:
    """A file for each clip; pictures that stand alone share one."""
    groups = {name: pictures for name, pictures in by_clip(seen).items() if pictures[0].clip != pictures[0].name}
    alone = [picture for picture in seen if picture.clip == picture.name]
    if alone:
        groups["pictures"] = alone
    if path.suffix and len(groups) > 1:
        raise UserError(
            f"{path}: DeepLabCut has a csv for each video, here are {len(groups)}; give a folder, no suffix"
        )
    for name, pictures in groups.items():
        names = {picture.name for picture in pictures}
        found = [one for one in predictions if one.image in names]
        if found:
            write_dlc(path if path.suffix else path / f"{_file_stem(name)}.csv", found, pictures, scorer)


def _draw(
    path: Path, sources: Sequence[Source], predictions: Sequence[Prediction], rate: float, with_boxes: bool
) -> None:
    by_name: dict[str, list[Prediction]] = defaultdict(list)
    for one in predictions:
        by_name[one.image].append(one)
    with _progress("drawing", num_pictures(sources)) as advance:

        def drawn() -> Iterator[tuple[Picture, list[Prediction]]]:
            for source in sources:
                for picture in read_pictures(source):
                    yield picture, by_name[picture.name]
                    advance()

        write_overlay(path, drawn(), rate, with_boxes)


def _file_stem(clip: str) -> str:
    return Path(clip).stem if "/" not in clip else clip.strip("/").replace("/", "-")


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} images/s")


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Any]:
    """A bar on a terminal; nothing elsewhere. Gives a function to call after each picture."""
    columns = [TextColumn(f"{what:22s}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
