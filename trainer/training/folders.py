"""The datasets of a run, and where a run folder remembers them."""

from __future__ import annotations

from dataclasses import dataclass

FOLDERS = "folders.json"
"""The file of a run that tells its datasets, so that resuming need not be told again."""


@dataclass(frozen=True)
class Folders:
    """Datasets: local paths or URLs. Held-out ones None: gauges look at the training data, without augmentation.

    To train on several is to give a tuple, each with its share or none: ("data/a=0.7", "data/b=0.3").
    """

    synthetic: str | tuple[str, ...] | None = None
    real: str | tuple[str, ...] | None = None
    held_out: str | None = None
    held_out_real: str | None = None
