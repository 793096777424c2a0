"""A DeepLabCut project's labelled frames: pixel errors as DeepLabCut reports them.

`labeled-data/VIDEO/CollectedData_SCORER.csv`: header rows scorer, (individuals,) bodyparts, coords; then for each
frame its picture, either as one path or as three columns (labeled-data, VIDEO, picture), and x, y of each body part,
empty where not labelled. A third coordinate, likelihood, is read where labels were made by a network: below the
cut-off they count as not labelled. Several individuals are several subjects; parts of "single" (objects) are left
out. Places count pixels from 0. Verified against the projects in DeepLabCut's repository and its readers.

Body parts have the project's own names: those that are ours are taken, the rest need `--joint-map`. Boxes are those of
the labelled points, widened: a subject of which little is labelled is seen too close.
Errors: DeepLabCut's "RMSE" is the mean distance in pixels over all labelled points (no square), and so it is here;
the second one counts answers whose confidence reaches the cut-off only. Confidences of two tools are not alike: look
at the share that is kept.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find
from trainer.benchmarks.joints import JointTable, mapped_table
from trainer.benchmarks.sample import BenchmarkSample, box_of_joints
from trainer.benchmarks.scores import by_group, pooled

_LABELLED = "labeled-data"
_OBJECTS = "single"
"""What multi-animal projects call the individual of parts that are no animal's."""


@dataclass(frozen=True)
class _Column:
    individual: str
    part: str
    coordinate: str


def _open(root: Path, request: Request) -> OpenBenchmark:
    if root.is_file():
        paths = [root]
    else:
        folder = root if root.name == _LABELLED else find(root, "deeplabcut", _LABELLED)
        paths = sorted(folder.glob("*/CollectedData_*.csv"))
        if not paths:
            raise UserError(
                f"{folder}: no VIDEO/CollectedData_*.csv in it, which DeepLabCut writes for labelled frames"
            )
    columns = [column for path in paths for column in _read_header(path)[0]]
    parts = list(dict.fromkeys(column.part for column in columns if column.individual != _OBJECTS))
    joints = mapped_table(parts, request.superset, request.joint_map, paths[0].parent.name)
    return OpenBenchmark(joints, partial(_read, paths, joints, request.cutoff))


def _read(paths: list[Path], table: JointTable, cutoff: float, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    for path in paths:
        columns, first = _read_header(path)
        individuals = list(dict.fromkeys(c.individual for c in columns if c.individual != _OBJECTS))
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if number < first or not any(row):
                    continue
                if len(row) <= len(columns):
                    raise UserError(f"{path}:{number}: {len(row)} cells, too few for {len(columns)} coordinates")
                index, cells = row[: len(row) - len(columns)], row[len(row) - len(columns) :]
                picture = _picture(path, index, number)
                for individual in individuals:
                    joints_px = _places(table, columns, cells, individual, cutoff, f"{path}:{number}")
                    box = box_of_joints(joints_px)
                    if box is None:
                        left_out["subjects with fewer than two labelled points"] += 1
                        continue
                    yield BenchmarkSample(
                        key=f"{path.parent.name}/{picture.stem}" + (f"-{individual}" if individual else ""),
                        picture=picture,
                        joints_px=joints_px,
                        visible=np.isfinite(joints_px).all(1),
                        box_px=box,
                        cluster=path.parent.name,
                        group=path.parent.name,
                    )


def _read_header(path: Path) -> tuple[list[_Column], int]:
    """What each column of numbers is, and the line (from 1) at which frames begin."""
    rows: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if not row or row[0] not in ("scorer", "individuals", "bodyparts", "coords"):
                break
            rows[row[0]] = row
    if {"bodyparts", "coords"} - rows.keys() or len({len(row) for row in rows.values()}) > 1:
        raise UserError(
            f"{path}: not a DeepLabCut table; its first rows must be scorer, bodyparts and coords, of one length"
        )
    first = next((place for place, cell in enumerate(rows["coords"]) if cell in ("x", "y")), None)
    if first is None:
        raise UserError(f"{path}: its row coords names no x and y")
    individuals = rows.get("individuals", [""] * len(rows["coords"]))
    cells = list(zip(individuals, rows["bodyparts"], rows["coords"], strict=True))[first:]
    return [_Column(*cell) for cell in cells], len(rows) + 1


def _picture(path: Path, index: list[str], number: int) -> Path:
    """The picture of a row: what its index ends in, beside the table."""
    names = [part for cell in index for part in PureWindowsPath(cell).parts]
    if not names or not Path(names[-1]).suffix:
        raise UserError(
            f"{path}:{number}: {'/'.join(names)!r} names no picture; predictions for a video are no labels, give "
            "CollectedData_SCORER.csv"
        )
    return path.parent / names[-1]


def _places(
    table: JointTable, columns: list[_Column], cells: list[str], individual: str, cutoff: float, where: str
) -> np.ndarray:
    """[J, 2] of one individual in a row; NaN where not labelled, or labelled by a network that doubts it."""
    values = np.full((len(table.names), 2), np.nan)
    for column, cell in zip(columns, cells, strict=True):
        if column.individual != individual or not cell.strip():
            continue
        try:
            value = float(cell)
        except ValueError:
            raise UserError(f"{where}: {column.part} {column.coordinate} is {cell!r}, not a number") from None
        row = table.names.index(column.part)
        if column.coordinate in ("x", "y"):
            values[row, "xy".index(column.coordinate)] = value + 0.5
        elif column.coordinate == "likelihood" and value < cutoff:
            values[row] = np.nan
    return np.where(np.isfinite(values).all(1, keepdims=True), values, np.nan)


def _score(answers: Answers) -> dict[str, Any]:
    distance = answers.distance_px
    is_trusted = answers.confidence >= answers.request.cutoff
    values = {
        "rmse_px": distance,
        "rmse_cutoff_px": np.where(is_trusted, distance, np.nan),
        "share_kept": np.where(answers.known, is_trusted.astype(float), np.nan),
    }
    parts = np.broadcast_to(np.array(answers.joints.names), distance.shape)
    each = {name: by_group(answers.draws, value, parts) for name, value in values.items()}
    return {
        **{name: pooled(answers.draws, value) for name, value in values.items()},
        "by_part": {part: {name: rows[part] for name, rows in each.items()} for part in answers.joints.names},
    }


BENCHMARK = Benchmark(
    name="deeplabcut",
    title="DeepLabCut project",
    superset=None,
    joints=None,
    layout=(
        "labeled-data/VIDEO/CollectedData_SCORER.csv   (or that file itself as --root)",
        "labeled-data/VIDEO/img0000.png ...   (the pictures that the table names, beside it)",
    ),
    source="your own project; examples are in https://github.com/DeepLabCut/DeepLabCut",
    scores={
        "rmse_px": "error, px (DeepLabCut's RMSE)",
        "rmse_cutoff_px": "error, px, confident answers only",
        "share_kept": "share of confident answers",
    },
    open=_open,
    score=_score,
    takes_joint_map=True,
    takes_cutoff=True,
)
