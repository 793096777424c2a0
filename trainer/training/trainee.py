"""The networks under training: built, initialised, wrapped for one process or many, with an optimiser each."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.config import OptimiserConfig, TrainConfig
from trainer.models.discriminator import build_discriminators
from trainer.models.pose_model import PoseModel, build_pose_model
from trainer.training.checkpoint import Checkpoint, load_strictly

NETWORKS = ("encoder", "pose_head", "uplift", "image_renderer")


@dataclass
class Trainee:
    """The networks under training, wrapped by Fabric, and what belongs to them."""

    fabric: Fabric
    model: nn.Module
    """PoseModel behind Fabric's wrapper; `ema` and `plain` are without."""
    discriminators: dict[str, nn.Module]
    """Each behind its own wrapper; its optimiser has the same name."""
    ema: AveragedModel
    optimisers: dict[str, torch.optim.Optimizer]
    config: TrainConfig
    skeleton: Skeleton

    @property
    def plain(self) -> PoseModel:
        return self.model.module

    @property
    def device(self) -> torch.device:
        return self.fabric.device


def make_fabric(device: str, precision: str) -> Fabric:
    """Fabric for one process, or for one of torchrun's.

    Args:
        device: "auto", "cpu" or "cuda".
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // processes
    # A step may leave networks out (no reconstruction in it), hence the search for unused parameters.
    strategy = DDPStrategy(find_unused_parameters=True) if processes * nodes > 1 else "auto"
    accelerator = {"auto": "auto", "cpu": "cpu", "cuda": "cuda"}[device]
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device auto or cpu")
    fabric = Fabric(accelerator=accelerator, devices=processes, num_nodes=nodes, precision=precision, strategy=strategy)
    fabric.launch()
    return fabric


def set_up(
    config: TrainConfig,
    skeleton: Skeleton,
    fabric: Fabric,
    init: Checkpoint | None,
    trained: tuple[str, ...] = NETWORKS,
    only_bone_lengths: bool = False,
) -> Trainee:
    """Build, initialise and wrap the networks and their optimisers.

    Args:
        init: start from this checkpoint's EMA weights (finetuning), not from ImageNet's.
        trained: networks that learn; the others stay as they are.
        only_bone_lengths: of the uplift nothing else learns.
    """
    torch.manual_seed(config.seed)
    model = build_pose_model(config.model, skeleton, config.data.input_size_px, pretrained=init is None)
    if init is not None:
        load_strictly(model, init.weights("ema"), f"{init.folder}/ema.safetensors")
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.optimiser.ema_decay)).to(fabric.device)
    ema.requires_grad_(False)
    settings = config.optimiser
    for name in set(NETWORKS) - set(trained):
        getattr(model, name).requires_grad_(False)
    if only_bone_lengths:
        model.uplift.free_only_lengths()
    optimisers = {
        # Lengths are part of a tensor whose rest must stay as it is, so nothing of it may decay.
        name: _optimiser(model.uplift, settings, settings.bone_factor, weight_decay=0.0)
        if only_bone_lengths and name == "uplift"
        else _optimiser(getattr(model, name), settings, settings.renderer_factor if name == "image_renderer" else 1.0)
        for name in trained
    }
    wrapped, *own = fabric.setup(model, *optimisers.values())
    wrapped.mark_forward_method("read_drawings")
    optimisers = dict(zip(optimisers, own, strict=True))
    judges = {}
    for name, network in build_discriminators(config, skeleton).items():
        judges[name], optimisers[name] = fabric.setup(
            network, _optimiser(network, settings, settings.discriminator_factor)
        )
    return Trainee(fabric, wrapped, judges, ema, optimisers, config, skeleton)


def _optimiser(
    network: nn.Module, settings: OptimiserConfig, factor: float = 1.0, weight_decay: float | None = None
) -> torch.optim.Optimizer:
    """AdamW with the peak rate remembered in each group; ImageNet layers get their own, slower group."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        groups[name.startswith("backbone.")].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_lr": settings.learning_rate * factor * (settings.backbone_factor if is_backbone else 1.0),
            }
            for is_backbone, parameters in groups.items()
            if parameters
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay if weight_decay is None else weight_decay,
        fused=True,  # a third of the time, on a CPU too
    )
