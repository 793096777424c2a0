"""Checkpoints: weights as safetensors, the rest as plain data, whole or not there at all, resumed exactly.

A run folder holds step_000123/ folders and two pointer files, `last` and `best`, each the name of one. A checkpoint is
    model.safetensors ema.safetensors [discriminator.safetensors ...]   weights
    optim.pt      optimisers' state dicts, loadable with weights_only=True
    state.json    step, clock, positions of the data streams
    config.yaml   the whole configuration
    manifest.json sha256 and bytes of each file above
It is written under a temporary name, synced to disk and renamed. Nothing here unpickles code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from posecore.errors import UserError
from posecore.skeleton import Skeleton, load_skeleton
from trainer.config import TrainConfig, dump_config, load_config
from trainer.models.pose_model import PoseModel, build_pose_model

MANIFEST = "manifest.json"
CONFIG, STATE, OPTIMISERS = "config.yaml", "state.json", "optim.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk whose manifest and hashes have been checked."""

    folder: Path
    step: int
    config: TrainConfig

    @property
    def content(self) -> str:
        """Tells checkpoints apart by their files, wherever they lie."""
        return _sha256(self.folder / MANIFEST)

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of NAME.safetensors.

        Raises:
            UserError: the checkpoint has none.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in self.folder.glob("*.safetensors")))
            raise UserError(f"{self.folder}: has no {name} weights, only {known}")
        try:
            return load_file(path)
        except safetensors.SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error})") from None

    def optimisers(self) -> dict[str, Any]:
        """State dicts by name; tensors and plain values only, anything else is refused."""
        return torch.load(self.folder / OPTIMISERS, weights_only=True, map_location="cpu")

    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / STATE).read_text())


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to estimate poses, with what it was made of."""

    model: PoseModel
    config: TrainConfig
    skeleton: Skeleton
    step: int
    folder: Path


def load_model(run: str | Path, device: torch.device | str = "cpu", weights: str = "ema") -> LoadedModel:
    """The model of a run (its `last` checkpoint) or of one step_... folder, in evaluation mode.

    Args:
        weights: "ema" (the running mean of the weights, better) or "model".

    Raises:
        UserError: no checkpoint there, damaged, or of other shapes than its own configuration.
    """
    checkpoint = open_checkpoint(run)
    skeleton = load_skeleton(checkpoint.config.skeleton)
    config = checkpoint.config
    model = build_pose_model(config.model, skeleton, config.data.input_size_px, pretrained=False)
    load_strictly(model, checkpoint.weights(weights), f"{checkpoint.folder}/{weights}.safetensors")
    model = model.to(device).eval().requires_grad_(False)
    return LoadedModel(model, config, skeleton, checkpoint.step, checkpoint.folder)


def open_checkpoint(run: str | Path, pointer: str = "last") -> Checkpoint:
    """Find and check a checkpoint.

    Args:
        run: a run folder, or a step_... folder within one.
        pointer: "last" or "best", for a run folder.

    Raises:
        UserError: nothing there, a file missing or changed since it was written.
    """
    run = Path(run)
    folder = run
    if not (run / MANIFEST).is_file():
        name = run / pointer
        if not name.is_file():
            what = "no such folder" if not run.is_dir() else f"holds no checkpoint ({pointer})"
            raise UserError(f"{run}: {what}; train one with `trainer run pretrain --out {run}`")
        folder = run / name.read_text().strip()
    manifest_path = folder / MANIFEST
    try:
        manifest = json.loads(manifest_path.read_text())
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{manifest_path}: missing or unreadable; the checkpoint cannot be trusted") from None
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing, though the checkpoint's manifest lists it; use another checkpoint")
        if _sha256(path) != expected["sha256"]:
            raise UserError(f"{path}: damaged, its bytes differ from the manifest's sha256; use another checkpoint")
    return Checkpoint(folder, int(manifest["step"]), load_config(str(folder / CONFIG)))


def save_checkpoint(
    run: Path,
    step: int,
    config: TrainConfig,
    weights: Mapping[str, Mapping[str, torch.Tensor]],
    optimisers: Mapping[str, Any],
    state: Mapping[str, Any],
    keep: int,
    is_best: bool = False,
) -> Path:
    """Write run/step_..., point `last` (and `best`) at it, and delete all but the newest `keep` and the best.

    Args:
        weights: name -> tensors, each a .safetensors file of that name.
        state: JSON-able.
    """
    name = f"step_{step:06d}"
    temporary, final = run / f".{name}.tmp", run / name
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for part, tensors in weights.items():
        # Contiguous copies: safetensors refuses channels-last strides and shared storage.
        plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        save_file(plain, temporary / f"{part}.safetensors")
    torch.save(dict(optimisers), temporary / OPTIMISERS)
    (temporary / STATE).write_text(json.dumps({**state, "step": step}, allow_nan=False) + "\n")
    (temporary / CONFIG).write_text(dump_config(config))
    files = {path.name: {"sha256": _sha256(path), "bytes": path.stat().st_size} for path in sorted(temporary.iterdir())}
    (temporary / MANIFEST).write_text(json.dumps({"step": step, "files": files}, indent=1) + "\n")
    for path in temporary.iterdir():
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    _sync(run)
    _point(run, "last", name)
    if is_best:
        _point(run, "best", name)
    _delete_old(run, keep)
    return final


def mark_best(run: Path, step: int) -> None:
    """Point `best` at a checkpoint that is there already."""
    _point(run, "best", f"step_{step:06d}")


def forget_later(run: Path, step: int) -> None:
    """Delete the checkpoints after this step's, which becomes the last one."""
    name = f"step_{step:06d}"
    _point(run, "last", name)
    for folder in run.glob("step_*"):
        if folder.name > name:
            shutil.rmtree(folder)


def load_strictly(module: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Fill every parameter and buffer of `module`, or say what does not match.

    Raises:
        UserError: naming what is missing, unknown or of another shape, and likely why.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    unknown = [name for name in tensors if name not in own]
    misshapen = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    problems = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("other shape:", misshapen))
        if names
    ]
    if problems:
        raise UserError(f"{source}: does not fit this model: {'; '.join(problems)}; is model: the same as in its run?")
    module.load_state_dict(dict(tensors))


def _point(run: Path, pointer: str, name: str) -> None:
    temporary = run / f".{pointer}.tmp"
    temporary.write_text(name + "\n")
    _sync(temporary)
    os.replace(temporary, run / pointer)


def _delete_old(run: Path, keep: int) -> None:
    kept = {(run / pointer).read_text().strip() for pointer in ("last", "best") if (run / pointer).is_file()}
    for folder in sorted(run.glob("step_*"), reverse=True)[keep:]:
        if folder.name not in kept:
            shutil.rmtree(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
