"""Carrying out a plan: each run is a `trainer run` process, several at a time, what is finished is never done again.

OUT/runs/NAME is a run folder, OUT/logs/NAME.log what it printed, OUT/configs/NAME.yaml its configuration. Stopped, or
with a failed run, the same command goes on where it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from posecore.dataset import write_atomically
from trainer.ablation.plan import Entry, PlannedRun, levels
from trainer.config import dump_config
from trainer.training.folders import Folders

FINISHED = "finished"
"""A file in the folder of a run that came to its end."""


@dataclass(frozen=True)
class Workshop:
    """Where and how runs are carried out.

    Attributes:
        out: folder of the ablation. jobs: runs at a time; they share the machine's cores. device: as for `trainer run`.
    """

    out: Path
    folders: Folders
    jobs: int
    device: str

    def run_folder(self, run: PlannedRun) -> Path:
        return self.out / "runs" / run.name


def carry_out(entries: Sequence[Entry], workshop: Workshop, say: Callable[[str], None]) -> list[str]:
    """Train what is not yet trained.

    Returns:
        Names of the runs that failed; runs that would start from them are left out.
    """
    failed: list[str] = []
    variants: dict[str, dict[str, None]] = {}  # of each run
    for entry in entries:
        for run in entry.run.lineage:
            variants.setdefault(run.name, {})[entry.variant] = None
    with ThreadPoolExecutor(workshop.jobs) as pool:
        for runs in levels(list(entries)):
            waiting = [run for run in runs if not (run.init and run.init.name in failed)]
            failed += [run.name for run in runs if run not in waiting]
            for run, problem in zip(waiting, pool.map(lambda r: _train(r, workshop, say), waiting), strict=True):
                if problem is not None:
                    say(f"{run.name} ({', '.join(variants[run.name])}) failed: {problem}")
                    failed.append(run.name)
    return failed


def _train(run: PlannedRun, workshop: Workshop, say: Callable[[str], None]) -> str | None:
    """One run, from its beginning or its last checkpoint; what is wrong, or None."""
    folder = workshop.run_folder(run)
    if (folder / FINISHED).is_file():
        return None
    log = workshop.out / "logs" / f"{run.name}.log"
    config = workshop.out / "configs" / f"{run.name}.yaml"
    for parent in (log.parent, config.parent, folder.parent):
        parent.mkdir(parents=True, exist_ok=True)
    write_atomically(config, dump_config(run.config).encode())
    command = [sys.executable, "-m", "trainer.cli", "run", run.config.command, "--out", str(folder)]
    command += ["--device", workshop.device]
    if (folder / "last").is_file():
        command += ["--resume"]
    else:
        command += ["--config", str(config), *_dataset_flags(workshop.folders, run.config.command)]
        origin = workshop.run_folder(run.init) if run.init else run.start
        if origin is not None or run.config.command == "finetune":
            command += ["--init", str(origin or "none")]
    say(f"{run.name} begins")
    threads = max(1, (os.cpu_count() or 1) // workshop.jobs)
    with open(log, "ab") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
        )
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else f'exit code {done.returncode}'} ({log})"
    (folder / FINISHED).touch()
    say(f"{run.name} is trained")
    return None


def _dataset_flags(folders: Folders, command: str) -> list[str]:
    given = {"--data": folders.synthetic, "--real": folders.real}
    wanted = {"pretrain": ("--data",), "finetune": ("--data", "--real"), "refine": ("--real",)}[command]
    return [word for flag in wanted for dataset in _listed(given[flag]) for word in (flag, dataset)]


def _listed(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said
