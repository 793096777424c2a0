"""The datasets of a run, and where a run folder remembers them."""

from __future__ import annotations

from dataclasses import dataclass

FOLDERS = "folders.json"
"""The file of a run that tells its datasets, so that resuming need not be told again."""


@dataclass(frozen=True)
class Folders:
    """Datasets: local paths or URLs. Held-out ones None: gauges look at the training data, without augmentation."""

    synthetic: str | None = None
    real: str | None = None
    held_out: str | None = None
    held_out_real: str | None = None
