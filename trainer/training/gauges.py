"""What a run is watched by: metrics on held-out labels, leakage of the renderer, pictures. No gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from posecore.sample import VISIBLE
from posecore.skeleton import Skeleton
from trainer.config import TrainConfig
from trainer.data.batch import Batch
from trainer.evaluation.metrics import Poses, evaluate_poses, mean_pose, mean_pose_baseline
from trainer.models.features import Features
from trainer.models.pose_model import PoseModel
from trainer.training.body_statistics import JointLimits
from trainer.training.logs import joints_to_px, picture_strip
from trainer.training.losses import (
    feature_error,
    near_drawing,
)

GAUGED_METRICS = ("error_pct", "error_pct_min", "flip_rate", "flip_rate_viewer", "pck_010", "mpjpe_mm")


def pose_gauges(
    model: PoseModel, batches: Sequence[Batch], skeleton: Skeleton, blend: float, device: torch.device
) -> dict[str, float]:
    """Metrics on labelled batches, and the error of the mean pose, which any model must beat."""
    poses = collect_poses(model, batches, blend, device)
    result = evaluate_poses(poses, skeleton, resamples=1)
    values = {name: result[name]["value"] for name in GAUGED_METRICS if result.get(name) is not None}
    baseline = mean_pose_baseline(poses, mean_pose(poses.true_joints_px, poses.weight))
    return values | {"mean_pose_pct": evaluate_poses(baseline, skeleton, resamples=1)["error_pct"]["value"]}


def collect_poses(model: PoseModel, batches: Iterable[Batch], blend: float, device: torch.device) -> Poses:
    """Estimates and truths of labelled batches, in pixels of the crops; `blend` as in PoseModel.forward."""
    return blend_answers(*collect_answers(model, batches, device), blend)


def blend_answers(head: Poses, reprojected: Poses, blend: float) -> Poses:
    """The answer that is given out: 0 is the pose head's, 1 the reprojected one."""
    return replace(head, joints_px=(1 - blend) * head.joints_px + blend * reprojected.joints_px)


@torch.no_grad()
def collect_answers(model: PoseModel, batches: Iterable[Batch], device: torch.device) -> tuple[Poses, Poses]:
    """What the pose head says of labelled batches, and what the uplift reprojects; beside it the truth.

    Only one batch's pictures are held at a time.
    """
    columns: dict[str, list[np.ndarray]] = {}
    reprojected: list[np.ndarray] = []
    keys: list[str] = []
    species: list[str] = []
    for batch in batches:
        size = batch.images.shape[-1]
        output = model(batch.images.to(device), 0.0, batch.camera_K.to(device))
        row = {
            "joints_px": joints_to_px(output.pose_2d.joints, size),
            "confidence": output.pose_2d.confidence.float().cpu().numpy(),
            "true_joints_px": joints_to_px(batch.joints, size),
            "weight": batch.joint_weight.numpy(),
            "visible": batch.visibility.numpy() == VISIBLE,
            "box_px": batch.box.numpy(),
            "joints_cam_m": output.pose_3d.joints.float().cpu().numpy(),
            "true_joints_cam_m": batch.joints_cam.numpy(),
            "visibility": batch.visibility.numpy(),
            "azimuth_deg": batch.azimuth_deg.numpy(),
            "elevation_deg": batch.elevation_deg.numpy(),
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
        reprojected.append(joints_to_px(output.pose_3d.reprojected, size))
        keys += batch.keys
        species += batch.species
    head = Poses(
        **{name: np.concatenate(values) for name, values in columns.items()},
        image_size_px=size,
        # A scene's frames belong together; keys are scene-frame-view.
        groups=tuple(key.split("-")[0] for key in keys),
        keys=tuple(keys),
        species=tuple(species),
    )
    return head, replace(head, joints_px=np.concatenate(reprojected))


@torch.no_grad()
def leakage(
    model: PoseModel, features: Features, batches: Sequence[Batch], blend: float, device: torch.device
) -> dict[str, float]:
    """Feature error, on and near the subject, of reconstructions from the right pose and from wrong ones.

    "shuffled" is another picture's pose, "partner" the partner frame's own, "blank" none. If a wrong or no pose does as
    well as the right one, the renderer takes the picture from elsewhere, and its gradient says nothing about the pose.
    """
    joints = [model(batch.images.to(device), blend, _camera(batch, device)).joints for batch in batches]
    everyone = torch.cat(joints)
    # Half the set away lies another scene or clip.
    strangers = everyone.roll(len(everyone) // 2, 0).split([len(j) for j in joints])
    sums = {"right": 0.0, "shuffled": 0.0, "partner": 0.0, "blank": 0.0}
    for batch, own, other in zip(batches, joints, strangers, strict=True):
        images, partners = batch.images.to(device), batch.partners.to(device)
        partner = model(partners, blend, _camera(batch, device)).joints
        near = near_drawing(model.draw.centred(own))
        subject = near / near.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
        for name, shown in (("right", own), ("shuffled", other), ("partner", partner), ("blank", None)):
            sums[name] += float(feature_error(features, model.render(shown, partners), images, subject).sum())
    return {name: total / len(everyone) for name, total in sums.items()}


@torch.no_grad()
def strip(
    model: PoseModel,
    batches: Sequence[Batch],
    skeleton: Skeleton,
    config: TrainConfig,
    device: torch.device,
    limits: JointLimits | None = None,
) -> np.ndarray:
    """Six pictures spread over the batches; see trainer.training.logs.picture_strip.

    Args:
        limits: of the joints, to mark those beyond them.
    """
    total = sum(batch.size for batch in batches)
    wanted = set(np.linspace(0, total - 1, min(6, total)).round().astype(int).tolist())
    images, partners = _pick(batches, "images", wanted), _pick(batches, "partners", wanted)
    chosen = Batch(images.to(device), partners.to(device), ("",) * len(images), is_real=True)
    output = model(chosen.images, config.model.answer_blend, partners=chosen.partners)
    beyond = None if limits is None else (limits.excess(output.pose_3d.rotations) > 0).any(-1)
    return picture_strip(chosen, output, skeleton, model.draw.groups, beyond)


def _camera(batch: Batch, device: torch.device) -> torch.Tensor | None:
    return None if batch.camera_K is None else batch.camera_K.to(device)


def _pick(batches: Sequence[Batch], name: str, wanted: set[int]) -> torch.Tensor:
    everything = (image for batch in batches for image in getattr(batch, name))
    return torch.stack([image for index, image in enumerate(everything) if index in wanted])
