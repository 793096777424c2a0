"""From a grid to the runs that it takes: each run once, however many variants go through it.

A run is told by everything that decides its outcome: resolved configuration, seed, the content of the datasets that it
reads and the run that it starts from. Its name ends in a hash of them: a changed grid or dataset never takes up
another's results, and grids in one folder share the runs that they have in common.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posecore.dataset import read_manifest
from posecore.errors import UserError
from trainer.ablation.grid import Grid
from trainer.config import TrainConfig, load_config
from trainer.data.streams import Datasets, dataset_shares
from trainer.training.checkpoint import open_checkpoint
from trainer.training.folders import Folders


@dataclass(frozen=True)
class PlannedRun:
    """One training.

    Attributes:
        name: of its folder.
        init: the run of the stage before it, from which it starts. start: a run or checkpoint outside the grid, from
            which a first stage starts. Without either it starts from ImageNet's weights.
    """

    name: str
    config: TrainConfig
    init: PlannedRun | None
    start: Path | None = None

    @property
    def lineage(self) -> tuple[PlannedRun, ...]:
        """All runs from the first stage to this one."""
        return (*(self.init.lineage if self.init else ()), self)


@dataclass(frozen=True)
class Entry:
    """A variant with one seed, and the last of its runs."""

    variant: str
    seed: int
    run: PlannedRun


def plan_entries(
    grid: Grid, folders: Folders, seeds: int, overrides: tuple[str, ...] = (), start: Path | None = None
) -> list[Entry]:
    """Every variant with seeds 0, 1, ...

    Args:
        overrides: "a.b=value", for every stage of every run.
        start: a trained run, or one of its checkpoints, that every first stage starts from.

    Raises:
        UserError: a configuration is not found, or refuses a field; a dataset or `start` is missing, or real footage
            not given.
    """
    start_content = open_checkpoint(start).content if start else None
    synthetic, real = (d and fingerprint(d) for d in (folders.synthetic, folders.real))
    entries = []
    for seed in range(seeds):
        for variant in grid.variants:
            run = None
            for stage in grid.stages_of(variant):
                changes = [f"{path}={json.dumps(value)}" for path, value in stage.set.items()]
                config = load_config(stage.config, (*changes, *overrides, f"seed={seed}"))
                if config.command != "pretrain" and real is None:
                    raise UserError(f"{variant}: its stage {config.stage} needs real footage; give --real")
                init, outer = (None, None) if stage.from_imagenet else (run, None if run else start)
                if config.command != "pretrain" and not (init or outer or stage.from_imagenet):
                    raise UserError(f"{variant}: its first stage is {config.stage}; give a trained run with --init")
                data = {"pretrain": (synthetic,), "finetune": (synthetic, real), "refine": (real,)}[config.command]
                origin = init.name if init else start_content if outer else None
                identity = _digest([config.model_dump(mode="json"), data, origin])
                run = PlannedRun(f"{_slug(Path(stage.config).stem)}-seed{seed}-{identity}", config, init, outer)
            entries.append(Entry(variant, seed, run))
    return entries


def levels(entries: list[Entry]) -> Iterator[list[PlannedRun]]:
    """The runs, each once: all first stages, then all second ones, and so on."""
    depth = max(len(entry.run.lineage) for entry in entries)
    for level in range(depth):
        runs = {e.run.lineage[level].name: e.run.lineage[level] for e in entries if len(e.run.lineage) > level}
        yield list(runs.values())


def fingerprint(datasets: Datasets) -> str:
    """Tells datasets, with their shares, apart by content, wherever they lie.

    Raises:
        UserError: one is missing.
    """
    content = []
    for folder, share in dataset_shares(datasets):
        content.append([[shard.sha256 for shard in read_manifest(folder).shards], share])
    return _digest(content)


def _digest(decisive: Any) -> str:
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
