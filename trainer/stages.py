"""The stages: pretraining on synthetic data; finetuning with real, unlabelled data mixed in; refinement on one clip.

    pretrain  the pose head alone on drawings; then everything, supervised, and the renderer on synthetic pairs
    finetune  each step a real and a synthetic batch in one forward pass: the real images teach by reconstruction, by
              agreement of drawing and encoder, and by a discriminator of poses; the synthetic ones stay supervised
    refine    one clip, a few hundred steps, encoder and renderer only, held near the poses that it starts from

Pictures teach the pose only once the renderer heeds it (a shuffled pose must reconstruct clearly worse on held-out
pairs): before, their gradient is noise. The discriminator's gradient is scaled to theirs, so it starts with them.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posecore.dataset import write_atomically
from posecore.errors import UserError
from posecore.skeleton import Skeleton, load_skeleton
from trainer.batch import Batch
from trainer.checkpoint import Checkpoint
from trainer.config import TrainConfig
from trainer.data import load_evaluation_set, pose_prior_stream, real_stream, synthetic_stream
from trainer.drawings import spoil_drawings, vary_poses
from trainer.logs import joints_to_px, picture_strip
from trainer.loop import NETWORKS, Stage, StepLosses, Trainee, fit, make_fabric, set_up
from trainer.losses import (
    PerceptualLoss,
    bone_loss,
    consistency_loss,
    discriminator_loss,
    facing_loss,
    feature_error,
    generator_loss,
    huber,
    joints_3d_loss,
    near_drawing,
    r1_penalty,
    reprojection_loss,
    rotation_loss,
    skeleton_image_loss,
    subject_weight,
)
from trainer.metrics import Poses, evaluate_poses, mean_pose, mean_pose_baseline
from trainer.models.discriminator import ReplayPool
from trainer.models.features import Features
from trainer.models.layers import resized
from trainer.models.pose_head import Pose2D
from trainer.models.pose_model import PoseModel, PoseOutput
from trainer.models.uplift import Pose3D
from trainer.shard_stream import Stream

GAUGED_METRICS = ("error_pct", "error_pct_min", "flip_rate", "pck_010", "mpjpe_mm")
FOLDERS = "folders.json"
"""The file of a run that tells its datasets, so that resuming need not be told again."""
REFINED_NETWORKS = ("encoder", "image_renderer")
BALANCE_EVERY = 10
"""Steps between measurements of the adversarial gradient against the perceptual one."""


@dataclass(frozen=True)
class Folders:
    """Datasets: local paths or URLs. Held-out ones None: gauges look at the training data, without augmentation."""

    synthetic: str | None = None
    real: str | None = None
    held_out: str | None = None
    held_out_real: str | None = None


class Pretrain:
    """Supervised on synthetic data; see trainer.loop.Stage for what each method is."""

    best_gauge = "error_pct"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        self.trainee, self.config, self.skeleton = trainee, trainee.config, trainee.skeleton
        fabric, seed = trainee.fabric, trainee.config.seed
        place = (fabric.global_rank, fabric.world_size)
        data = self.config.data
        self.streams = {
            "synthetic": _Timed(synthetic_stream(folders.synthetic, self.skeleton, data, seed, *place)),
            "prior": _Timed(pose_prior_stream(folders.synthetic, self.skeleton, data, seed + 1, *place)),
        }
        self.held_out = load_evaluation_set(
            folders.held_out or folders.synthetic,
            self.skeleton,
            data.input_size_px,
            crop=data.crop,
            max_samples=self.config.schedule.gauge_samples,
        )
        features = self.config.losses.features
        self.perceptual = PerceptualLoss(Features(features.name, features.levels, features.weights))
        self.perceptual.to(trainee.device)
        self.pictures_teach = False

    def pose_head_losses(self) -> StepLosses:
        joints, drawings = self._prior_drawings()
        read = self.trainee.model.read_drawings(drawings)
        loss = self.config.losses.pose_head * huber(read.joints, joints, _inside(joints))
        return StepLosses({"pose_head": loss}, (), len(drawings))

    def losses(self, step: int, progress: float) -> StepLosses:
        batch = next(self.streams["synthetic"]).to(self.trainee.device)
        prior_joints, drawings = self._prior_drawings()
        renders = step % self.config.schedule.render_every == 0
        output = self.trainee.model(
            batch.images,
            blend=blend_at(progress, self.config),
            camera_K=batch.camera_K,
            partners=batch.partners if renders else None,
            true_joints=self._true_joints(batch) if renders else None,
            image_teaches_pose=self.pictures_teach,
            drawings=drawings,
        )
        terms = supervised_terms(output, batch, self.trainee.plain, self.config)
        terms |= self._pose_head_term(output, prior_joints)
        if renders:
            weights = self.config.losses
            subject = subject_weight(resized(batch.subject_mask, weights_size(output)), weights.subject_weight)
            terms["perceptual"] = weights.perceptual * self.perceptual(output.reconstruction, batch.images, subject)
        return StepLosses(terms, batch.keys, batch.size)

    def discriminator_losses(self, step: int) -> StepLosses | None:
        return None

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        blend = self.config.model.answer_blend
        values = pose_gauges(ema, self.held_out, self.skeleton, blend, self.trainee.device)
        values |= leakage(ema, self.perceptual.features, self.held_out, blend, self.trainee.device)
        self._consider_pictures(values)
        return values

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return strip(ema, self.held_out, self.skeleton, self.config, self.trainee.device)

    def data_wait_s(self) -> float:
        return sum(stream.waited_s for stream in self.streams.values())

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"perceptual": {"norms": self.perceptual.norms}}

    def values(self) -> dict[str, Any]:
        streams = {name: stream.stream.state_dict() for name, stream in self.streams.items()}
        return {"streams": streams, "pictures_teach": self.pictures_teach}

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        self.perceptual.norms = tensors("perceptual")["norms"].to(self.trainee.device)
        self.pictures_teach = values["pictures_teach"]
        for name, stream in self.streams.items():
            stream.stream.load_state_dict(values["streams"][name])

    def _prior_drawings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Poses of the prior, varied, [D, K, 2], and their spoilt drawings [D, C, s, s]."""
        joints = vary_poses(next(self.streams["prior"]).to(self.trainee.device), self.skeleton)
        return joints, spoil_drawings(self.trainee.plain.draw.centred(joints), self.skeleton)

    def _pose_head_term(self, output: PoseOutput, joints: torch.Tensor) -> dict[str, torch.Tensor]:
        loss = huber(output.drawn_pose_2d.joints, joints, _inside(joints))
        return {"pose_head": self.config.losses.pose_head * loss}

    def _true_joints(self, batch: Batch) -> torch.Tensor:
        """[B, K, 2]: the truth for `true_drawing` of the rows, NaN for the others."""
        is_given = torch.rand(batch.size, device=batch.joints.device) < self.config.schedule.true_drawing
        return torch.where(is_given[:, None, None], batch.joints, torch.nan)

    def _consider_pictures(self, values: dict[str, float]) -> None:
        """Let pictures teach the pose from the first gauge on at which the renderer heeds it; there is no way back."""
        margin = values["shuffled"] / max(values["right"], 1e-9) - 1.0
        teaches = self.pictures_teach or margin >= self.config.schedule.leakage_margin
        # Rounding may tell processes apart, and one that went its own way would hang the others.
        self.pictures_teach = self.trainee.fabric.broadcast(teaches)
        values["pictures_teach"] = float(self.pictures_teach)


class Finetune(Pretrain):
    """Analysis-by-synthesis: what Pretrain does on half of each batch, reconstruction of real images on the rest."""

    best_gauge = "real_right"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        super().__init__(trainee, folders)
        fabric, data = trainee.fabric, self.config.data
        place = (fabric.global_rank, fabric.world_size)
        self.streams["real"] = _Timed(real_stream(folders.real, data, self.config.seed + 2, *place))
        self.held_out_real = load_evaluation_set(
            folders.held_out_real or folders.real,
            self.skeleton,
            data.input_size_px,
            crop=data.real_crop,
            max_samples=self.config.schedule.gauge_samples,
        )
        self.pool = ReplayPool(self.config.model.discriminator.replay)
        self.adversarial_weight = 0.0
        self.error_before: float | None = None
        self._contest: tuple[torch.Tensor, torch.Tensor, tuple[str, ...]] | None = None

    def losses(self, step: int, progress: float) -> StepLosses:
        real = next(self.streams["real"]).to(self.trainee.device)
        synthetic = next(self.streams["synthetic"]).to(self.trainee.device)
        prior = next(self.streams["prior"]).to(self.trainee.device)
        prior_joints = vary_poses(prior, self.skeleton)
        draw = self.trainee.plain.draw
        renders_synthetic = step % self.config.schedule.render_every == 0
        nothing_true = real.images.new_full((real.size, *synthetic.joints.shape[1:]), torch.nan)
        true_joints = [nothing_true, self._true_joints(synthetic)] if renders_synthetic else [nothing_true]
        is_adversarial = self.pictures_teach and self.config.losses.adversarial_ratio > 0
        probe = None
        if is_adversarial and (step % BALANCE_EVERY == 0 or self.adversarial_weight == 0.0):
            shape = (real.size + synthetic.size, draw.num_channels, draw.size, draw.size)
            probe = real.images.new_zeros(shape, requires_grad=True)
        output = self.trainee.model(
            torch.cat([real.images, synthetic.images]),
            blend=blend_at(progress, self.config),
            camera_K=torch.cat([torch.full_like(synthetic.camera_K[:1], torch.nan).expand(real.size, 3, 3),
                                synthetic.camera_K]),
            partners=torch.cat([real.partners, synthetic.partners]) if renders_synthetic else real.partners,
            true_joints=torch.cat(true_joints),
            image_teaches_pose=self.pictures_teach,
            drawings=spoil_drawings(draw.centred(prior_joints), self.skeleton),
            probe=probe,
        )  # fmt: skip
        is_real, is_synthetic = slice(None, real.size), slice(real.size, None)

        first, last = self.config.losses.synthetic
        share = first + (last - first) * progress
        terms = supervised_terms(_rows(output, is_synthetic), synthetic, self.trainee.plain, self.config)
        terms = {name: share * term for name, term in terms.items()}
        terms |= self._pose_head_term(output, prior_joints)

        weights, size = self.config.losses, weights_size(output)
        subjects = [resized(near_drawing(output.drawing[is_real]), size)]
        targets = [real.images]
        if renders_synthetic:
            subjects.append(resized(synthetic.subject_mask, size))
            targets.append(synthetic.images)
        subject = subject_weight(torch.cat(subjects), weights.subject_weight)
        perceptual = weights.perceptual * self.perceptual(output.reconstruction, torch.cat(targets), subject)
        seen = output.skeleton_image[is_real]
        terms["perceptual"] = perceptual
        terms["consistency"] = weights.consistency * consistency_loss(output.drawing[is_real], seen)
        terms["real_reprojection"] = weights.reprojection * reprojection_loss(
            output.pose_3d.reprojected[is_real], output.pose_2d.joints[is_real], None
        )
        self._contest = None
        if is_adversarial:
            adversarial = self._adversarial_loss(seen)
            if probe is not None:
                self._balance(adversarial, perceptual, probe, real.size)
            terms["adversarial"] = self.adversarial_weight * adversarial
            self._contest = (draw.centred(prior[: real.size]), seen.detach(), real.keys)
        return StepLosses(terms, real.keys + synthetic.keys, real.size + synthetic.size)

    def discriminator_losses(self, step: int) -> StepLosses | None:
        if self._contest is None:
            return None
        settings = self.config.model.discriminator
        drawn, fakes, keys = self._contest
        fakes = self.pool.query(fakes, torch.default_generator)
        penalised = step % settings.r1_every == 0 and settings.r1_gamma > 0
        drawn = self._noisy(drawn).requires_grad_(penalised)
        scores = self.trainee.discriminator(torch.cat([drawn, self._noisy(fakes)]))
        real_scores, fake_scores = zip(*(score.split([len(drawn), len(fakes)]) for score in scores), strict=True)
        terms = {"discriminator": discriminator_loss(real_scores, fake_scores)}
        if penalised:
            # Lazily applied, so as many times stronger (Karras et al. 2020).
            terms["r1"] = 0.5 * settings.r1_gamma * settings.r1_every * r1_penalty(real_scores, drawn)
        return StepLosses(terms, keys, 0)

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        blend, device = self.config.model.answer_blend, self.trainee.device
        values = pose_gauges(ema, self.held_out, self.skeleton, blend, device)
        if self.error_before is None:
            self.error_before = values["error_pct"]
        values["forgetting_pct"] = values["error_pct"] - self.error_before
        on_real = leakage(ema, self.perceptual.features, self.held_out_real, blend, device)
        self._consider_pictures(on_real)
        values["adversarial_weight"] = self.adversarial_weight
        return values | {f"real_{name}": value for name, value in on_real.items()}

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return strip(ema, self.held_out_real, self.skeleton, self.config, self.trainee.device)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        kept = {f"{place:04d}": image for place, image in enumerate(self.pool.images)}
        return super().tensors() | {"replay": kept}

    def values(self) -> dict[str, Any]:
        own = {"adversarial_weight": self.adversarial_weight, "error_before": self.error_before}
        return super().values() | own

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        super().restore(tensors, values)
        self.pool.images = [image.to(self.trainee.device) for _, image in sorted(tensors("replay").items())]
        self.adversarial_weight, self.error_before = values["adversarial_weight"], values["error_before"]

    def _adversarial_loss(self, seen: torch.Tensor) -> torch.Tensor:
        """The generator's side; the discriminator itself takes no gradient here."""
        # Behind the wrapper: no gradients of the discriminator are wanted, so none may be awaited from other processes.
        discriminator = self.trainee.discriminator.module
        discriminator.requires_grad_(False)
        loss = generator_loss(discriminator(self._noisy(seen)))
        discriminator.requires_grad_(True)
        return loss

    def _balance(self, adversarial: torch.Tensor, perceptual: torch.Tensor, probe: torch.Tensor, num_real: int) -> None:
        """Set the adversarial weight so that its gradient on real skeleton images has the wanted norm; smoothed."""
        norms = [
            torch.autograd.grad(loss, probe, retain_graph=True)[0][:num_real].norm().item()
            for loss in (perceptual, adversarial)
        ]
        wanted = self.config.losses.adversarial_ratio * norms[0] / max(norms[1], 1e-12)
        old = self.adversarial_weight
        self.adversarial_weight = wanted if old == 0.0 else 0.7 * old + 0.3 * wanted

    def _noisy(self, drawings: torch.Tensor) -> torch.Tensor:
        return drawings + self.config.model.discriminator.instance_noise * torch.randn_like(drawings)


class Refine:
    """Instance refinement: one person's clips, without labels.

    Pose head and uplift stay; the encoder learns to see this person, the renderer to paint them, and an anchor keeps
    the pose near the answer of the run that it starts from.
    """

    best_gauge = "real_right"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        self.trainee, self.config, self.skeleton = trainee, trainee.config, trainee.skeleton
        fabric, data = trainee.fabric, trainee.config.data
        self.stream = _Timed(real_stream(folders.real, data, self.config.seed, fabric.global_rank, fabric.world_size))
        self.held_out_real = load_evaluation_set(
            folders.held_out_real or folders.real,
            self.skeleton,
            data.input_size_px,
            crop=data.real_crop,
            max_samples=self.config.schedule.gauge_samples,
        )
        features = self.config.losses.features
        self.perceptual = PerceptualLoss(Features(features.name, features.levels, features.weights))
        self.perceptual.to(trainee.device)
        self.start = copy.deepcopy(trainee.ema.module).eval()

    def pose_head_losses(self) -> StepLosses:
        raise UserError("refinement does not train the pose head: set schedule.pose_head_steps=0")

    def losses(self, step: int, progress: float) -> StepLosses:
        batch = next(self.stream).to(self.trainee.device)
        weights, blend = self.config.losses, self.config.model.answer_blend
        output = self.trainee.model(batch.images, blend=blend, partners=batch.partners)
        with torch.no_grad():
            anchor = self.start(batch.images, blend).joints
        size = output.reconstruction.shape[-1]
        subject = subject_weight(resized(near_drawing(output.drawing), size), weights.subject_weight)
        terms = {
            "perceptual": weights.perceptual * self.perceptual(output.reconstruction, batch.images, subject),
            "consistency": weights.consistency * consistency_loss(output.drawing, output.skeleton_image),
            "anchor": weights.anchor * huber(output.joints, anchor),
        }
        return StepLosses(terms, batch.keys, batch.size)

    def discriminator_losses(self, step: int) -> StepLosses | None:
        return None

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        blend, device = self.config.model.answer_blend, self.trainee.device
        errors = leakage(ema, self.perceptual.features, self.held_out_real, blend, device)
        moved, swapped = [], []
        for batch in self.held_out_real:
            images = batch.images.to(device)
            now, before = ema(images, blend).joints, self.start(images, blend).joints
            moved.append((now - before).norm(dim=-1).mean(1))
            swapped.append((now[:, list(self.skeleton.swap)] - before).norm(dim=-1).mean(1))
        moved, swapped = torch.cat(moved), torch.cat(swapped)
        # Half the normalised distance is a fraction of the image's side.
        drift = {"moved_pct": 50.0 * float(moved.mean()), "swapped_sides": float((swapped < moved).float().mean())}
        return {f"real_{name}": value for name, value in errors.items()} | drift

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return strip(ema, self.held_out_real, self.skeleton, self.config, self.trainee.device)

    def data_wait_s(self) -> float:
        return self.stream.waited_s

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"perceptual": {"norms": self.perceptual.norms}, "start": self.start.state_dict()}

    def values(self) -> dict[str, Any]:
        return {"streams": {"real": self.stream.stream.state_dict()}}

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        self.perceptual.norms = tensors("perceptual")["norms"].to(self.trainee.device)
        self.start.load_state_dict(tensors("start"))
        self.stream.stream.load_state_dict(values["streams"]["real"])


def supervised_terms(
    output: PoseOutput, batch: Batch, model: PoseModel, config: TrainConfig
) -> dict[str, torch.Tensor]:
    """The weighted terms of labelled images."""
    weights, uplift = config.losses, model.uplift
    with torch.no_grad():
        target = model.draw.centred(batch.joints)
    known = batch.joint_weight
    root = uplift.root_index
    return {
        "skeleton_image": weights.skeleton_image
        * skeleton_image_loss(output.skeleton_image, target, weights.foreground),
        "joints_2d": weights.joints_2d * huber(output.pose_2d.joints, batch.joints, known),
        "reprojection": weights.reprojection * huber(output.pose_3d.reprojected, batch.joints, known),
        "joints_3d": weights.joints_3d
        * joints_3d_loss(output.pose_3d.joints, batch.joints_cam, root, uplift.height_m, torch.ones_like(known)),
        "rotations": weights.rotations * rotation_loss(output.pose_3d.rotations, batch.rotations_cam),
        "facing": weights.facing * facing_loss(output.facing_6d, batch.rotations_cam[:, root]),
        "bones": weights.bones * bone_loss(output.pose_3d.lengths),
    }


def blend_at(progress: float, config: TrainConfig) -> float:
    """How much of the drawn joints is reprojected: 0 at first, 1 in the end, so that a raw uplift destroys nothing."""
    start, end = config.schedule.blend_from, config.schedule.blend_until
    if progress >= end:
        return 1.0
    return max((progress - start) / (end - start), 0.0)


def weights_size(output: PoseOutput) -> int:
    """Side of the reconstruction, at which pixels are weighed."""
    return output.reconstruction.shape[-1]


def pose_gauges(
    model: PoseModel, batches: Sequence[Batch], skeleton: Skeleton, blend: float, device: torch.device
) -> dict[str, float]:
    """Metrics on labelled batches, and the error of the mean pose, which any model must beat."""
    poses = collect_poses(model, batches, blend, device)
    result = evaluate_poses(poses, skeleton, resamples=1)
    values = {name: result[name]["value"] for name in GAUGED_METRICS if result.get(name) is not None}
    baseline = mean_pose_baseline(poses, mean_pose(poses.true_joints_px, poses.weight))
    return values | {"mean_pose_pct": evaluate_poses(baseline, skeleton, resamples=1)["error_pct"]["value"]}


@torch.no_grad()
def collect_poses(model: PoseModel, batches: Sequence[Batch], blend: float, device: torch.device) -> Poses:
    """Estimates and truths of labelled batches, in pixels of the crops."""
    columns: dict[str, list[np.ndarray]] = {}
    size = batches[0].images.shape[-1]
    for batch in batches:
        output = model(batch.images.to(device), blend, batch.camera_K.to(device))
        row = {
            "joints_px": joints_to_px(output.joints, size),
            "confidence": output.pose_2d.confidence.float().cpu().numpy(),
            "true_joints_px": joints_to_px(batch.joints, size),
            "weight": batch.joint_weight.numpy(),
            "visible": batch.visibility.numpy() == 3,
            "box_px": batch.box.numpy(),
            "joints_cam_m": output.pose_3d.joints.float().cpu().numpy(),
            "true_joints_cam_m": batch.joints_cam.numpy(),
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    # A scene's frames belong together; keys are scene-frame-view.
    groups = tuple(key.split("-")[0] for batch in batches for key in batch.keys)
    return Poses(
        **{name: np.concatenate(values) for name, values in columns.items()}, image_size_px=size, groups=groups
    )


@torch.no_grad()
def leakage(
    model: PoseModel, features: Features, batches: Sequence[Batch], blend: float, device: torch.device
) -> dict[str, float]:
    """Feature error, on and near the subject, of reconstructions from the right, another picture's and a blank pose.

    If a wrong or no pose does as well as the right one, the renderer takes the picture from elsewhere, and its gradient
    says nothing about the pose.
    """
    joints = [model(batch.images.to(device), blend, _camera(batch, device)).joints for batch in batches]
    everyone = torch.cat(joints)
    # Half the set away lies another scene or clip.
    strangers = everyone.roll(len(everyone) // 2, 0).split([len(j) for j in joints])
    sums = {"right": 0.0, "shuffled": 0.0, "blank": 0.0}
    for batch, own, other in zip(batches, joints, strangers, strict=True):
        images, partners = batch.images.to(device), batch.partners.to(device)
        near = near_drawing(model.draw.centred(own))
        subject = near / near.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
        for name, shown in (("right", own), ("shuffled", other), ("blank", None)):
            sums[name] += float(feature_error(features, model.render(shown, partners), images, subject).sum())
    return {name: total / len(everyone) for name, total in sums.items()}


@torch.no_grad()
def strip(
    model: PoseModel, batches: Sequence[Batch], skeleton: Skeleton, config: TrainConfig, device: torch.device
) -> np.ndarray:
    """Six pictures spread over the batches; see trainer.logs.picture_strip."""
    total = sum(batch.size for batch in batches)
    wanted = set(np.linspace(0, total - 1, min(6, total)).round().astype(int).tolist())
    images, partners = _pick(batches, "images", wanted), _pick(batches, "partners", wanted)
    chosen = Batch(images.to(device), partners.to(device), ("",) * len(images), is_real=True)
    output = model(chosen.images, config.model.answer_blend, partners=chosen.partners)
    return picture_strip(chosen, output, skeleton)


class _Timed:
    """A stream that counts the seconds its reader waits."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        begin = time.perf_counter()
        item = next(self.stream)
        self.waited_s += time.perf_counter() - begin
        return item


def _inside(joints: torch.Tensor) -> torch.Tensor:
    """[B, K] 1 for joints inside the frame."""
    return (joints.abs() <= 1.0).all(-1).to(joints.dtype)


def _rows(output: PoseOutput, rows: slice) -> PoseOutput:
    """The estimates (not the pictures) of some of the images."""
    pose_2d = Pose2D(*(value[rows] for value in output.pose_2d))
    pose_3d = Pose3D(*(value[rows] for value in output.pose_3d))
    return PoseOutput(output.skeleton_image[rows], output.facing_6d[rows], pose_2d, pose_3d, output.joints[rows])


def _camera(batch: Batch, device: torch.device) -> torch.Tensor | None:
    return None if batch.camera_K is None else batch.camera_K.to(device)


def _pick(batches: Sequence[Batch], name: str, wanted: set[int]) -> torch.Tensor:
    everything = (image for batch in batches for image in getattr(batch, name))
    return torch.stack([image for index, image in enumerate(everything) if index in wanted])


def make_stage(trainee: Trainee, folders: Folders) -> Stage:
    """The stage that the configuration names."""
    match trainee.config.stage:
        case "pretrain":
            return Pretrain(trainee, folders)
        case "finetune":
            return Finetune(trainee, folders)
        case "refine":
            return Refine(trainee, folders)


def run_stage(
    config: TrainConfig, folders: Folders, run: Path, device: str, init: Checkpoint | None, resume: Checkpoint | None
) -> bool:
    """A whole run: build, train, leave a checkpoint.

    Args:
        init: checkpoint to start from, or None.
        resume: checkpoint of this very run to continue, or None.

    Returns:
        Whether it came to its end; False if a signal stopped it (a checkpoint is there).
    """
    fabric = make_fabric(device, config.optimiser.precision)
    is_adversarial = config.stage == "finetune" and config.losses.adversarial_ratio > 0
    trained = REFINED_NETWORKS if config.stage == "refine" else NETWORKS
    trainee = set_up(config, load_skeleton(config.skeleton), fabric, init, trained, is_adversarial)
    stage = make_stage(trainee, folders)
    if fabric.is_global_zero:
        run.mkdir(parents=True, exist_ok=True)
        write_atomically(run / FOLDERS, (json.dumps(asdict(folders), indent=1) + "\n").encode())
    return fit(trainee, stage, run, resume)
