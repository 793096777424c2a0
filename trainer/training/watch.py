"""What a run on real pictures is watched by without their labels: a score of checkpoints, and signs of collapse.

The score is the sum of three parts, each without unit and lower where better (method 4.6, P3):

    reconstruction  feature error of held-out real pictures rendered from their partners, over that of the partners
                    themselves: 1 is as bad as handing the partner through. Whole pictures, so that nothing is won by
                    looking at an easy place, and a denominator that no training changes.
    implausible     mean strangeness of the 3D poses (TypicalPoses): 0 for poses such as synthetic bodies take. Left out
                    where no labels tell the rotations of bodies.
    sides           distance of the joints from those of the mirrored picture, mirrored back, over the joints' mean
                    distance from the root: 0 where left and right are told alike.

A model that always answers one plausible, symmetric pose is perfect by the last two; it pays by the first, and the
signs of collapse stop it: how far poses and skeleton images differ from picture to picture, and how much is drawn, each
over the same of the held-out synthetic labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from trainer.data.batch import Batch
from trainer.models.features import Features
from trainer.models.layers import resized
from trainer.models.pose_model import PoseModel
from trainer.training.body_statistics import TypicalPoses, typical_poses
from trainer.training.losses import feature_error
from trainer.training.pose_terms import in_one_world
from trainer.training.trainee import Trainee

SIGNS = {
    "spread": "poses hardly differ from picture to picture",
    "variation": "skeleton images hardly differ from picture to picture",
    "ink": "skeleton images are nearly empty",
}
"""Signs of collapse: what it means that one is near 0."""


class RealAnswers(NamedTuple):
    """What a model says of N held-out real pictures."""

    joints: torch.Tensor
    """[N, K, 2]."""
    mirrored_joints: torch.Tensor
    """[N, K, 2] of the mirrored pictures, mirrored back."""
    skeleton_image: torch.Tensor
    """[N, C, s, s]."""
    joints_3d: torch.Tensor
    rotations: torch.Tensor
    reconstruction: float
    """Feature error over the partners'."""
    jitter: float | None
    """Mean distance of the joints from the middle of their neighbours'; None where no picture has neighbours."""
    views_apart: float | None = None
    """Mean distance, in bone lengths, of 3D joints from those of another view; None where no picture has one."""

    @property
    def off_mirror(self) -> torch.Tensor:
        """[N] mean distance of the joints from those of the mirrored picture."""
        return (self.joints - self.mirrored_joints).norm(dim=-1).mean(1)


class RealWatch:
    """Gauges of real pictures; remembers what the signs of collapse were at first.

    Args:
        held_out: labelled frames, or none: then nothing is said of plausibility, and signs are over those at first.
    """

    def __init__(
        self, trainee: Trainee, features: Features, held_out: Sequence[Batch], held_out_real: Sequence[Batch]
    ) -> None:
        self.trainee, self.features = trainee, features
        self.held_out, self.held_out_real = held_out, held_out_real
        self.first_signs: dict[str, float] | None = None
        self._typical: TypicalPoses | None = None
        if held_out:
            self._typical = typical_poses(held_out, trainee.skeleton, trainee.device)

    def gauge(self, model: PoseModel) -> tuple[dict[str, float], RealAnswers]:
        """The score with its parts, agreement with mirrored pictures, and the signs of collapse."""
        answers = self.answers(model)
        values = self._score(answers) | self._mirror(answers)
        if answers.jitter is not None:
            values["real_jitter_pct"] = 50.0 * answers.jitter
        if answers.views_apart is not None:
            values["real_views_pct"] = 100.0 * answers.views_apart
        signs = _signs(answers.joints, answers.skeleton_image)
        if self.held_out:
            joints = torch.cat([batch.joints for batch in self.held_out]).to(self.trainee.device)
            labelled = _signs(joints, self.drawn())
            signs = {name: value / max(labelled[name], 1e-9) for name, value in signs.items()}
        if self.first_signs is None:
            self.first_signs = signs
        return values | signs, answers

    def collapse(self, values: dict[str, float]) -> str | None:
        """What has collapsed, by a gauge's numbers; None if nothing has."""
        below = self.trainee.config.schedule.collapse_below
        for name, meaning in SIGNS.items():
            first = self.first_signs[name]
            sound = min(first, 1.0) if self.held_out else first
            if values[name] < below * sound:
                return f"{meaning} ({name} {values[name]:.2g}, at first {first:.2g}; schedule.collapse_below {below:g})"
        return None

    def drawn(self) -> torch.Tensor:
        """Centred drawings of the held-out labels, [M, C, s, s]."""
        draw, device = self.trainee.plain.draw, self.trainee.device
        return torch.cat([draw.centred(batch.joints.to(device)) for batch in self.held_out])

    def values(self) -> dict[str, Any]:
        return {"first_signs": self.first_signs}

    def restore(self, values: dict[str, Any]) -> None:
        self.first_signs = values["first_signs"]

    @torch.no_grad()
    def answers(self, model: PoseModel) -> RealAnswers:
        """Go through the held-out real pictures."""
        device, blend = self.trainee.device, self.trainee.config.model.answer_blend
        swap = list(self.trainee.skeleton.swap)
        columns: list[list[torch.Tensor]] = [[] for _ in range(5)]
        errors, off_middle, views_apart = torch.zeros(2), [], []
        for batch in self.held_out_real:
            images, partners = batch.images.to(device), batch.partners.to(device)
            output = model(images, blend, partners=partners)
            mirrored = model(images.flip(-1), blend).joints[:, swap] * images.new_tensor([-1.0, 1.0])
            row = (output.joints, mirrored, output.skeleton_image, output.pose_3d.joints, output.pose_3d.rotations)
            for column, value in zip(columns, row, strict=True):
                column.append(value.float())
            handed_through = resized(partners, output.reconstruction.shape[-1])
            errors += torch.stack(
                [feature_error(self.features, shown, images).sum().cpu()
                 for shown in (output.reconstruction, handed_through)]
            )  # fmt: skip
            if batch.neighbours is not None and (has := batch.neighbour_weight > 0).any():
                around = model(batch.neighbours[has].flatten(0, 1).to(device), blend).joints.unflatten(0, (-1, 2))
                off_middle.append((output.joints[has.to(device)] - around.mean(1)).norm(dim=-1).mean(1))
            if batch.views is not None and (has := batch.view_weight > 0).any():
                seen_beside = model(batch.views[has].to(device), blend).pose_3d.joints
                both = torch.stack([output.pose_3d.joints[has.to(device)], seen_beside], 1)
                both = in_one_world(both, batch.world_from_crop[has].to(device), self.trainee.plain.uplift.parents)
                views_apart.append((both[:, 0] - both[:, 1]).norm(dim=-1).mean(1))
        jitter, apart = (float(torch.cat(parts).mean()) if parts else None for parts in (off_middle, views_apart))
        ours, theirs = errors.tolist()
        return RealAnswers(*(torch.cat(column) for column in columns), ours / max(theirs, 1e-9), jitter, apart)

    def _score(self, answers: RealAnswers) -> dict[str, float]:
        root = self.trainee.skeleton.parents.index(-1)
        apart = answers.off_mirror
        extent = (answers.joints - answers.joints[:, root : root + 1]).norm(dim=-1).mean(1)
        parts = {
            "score_reconstruction": answers.reconstruction,
            "score_sides": float((apart / extent.clamp(min=1e-3)).mean()),
        }
        if self._typical is not None:
            strange = self._typical.strangeness(answers.joints_3d, answers.rotations)
            parts["score_implausible"] = float(strange.mean())
        return {"score": sum(parts.values())} | parts

    def _mirror(self, answers: RealAnswers) -> dict[str, float]:
        apart = answers.off_mirror
        exchanged = answers.mirrored_joints[:, list(self.trainee.skeleton.swap)]
        apart_exchanged = (answers.joints - exchanged).norm(dim=-1).mean(1)
        # Half the normalised distance is a fraction of the image's side.
        return {
            "real_mirror_pct": 50.0 * float(apart.mean()),
            "real_mirror_flip_rate": float((apart_exchanged < apart).float().mean()),
        }


def _signs(joints: torch.Tensor, skeleton_image: torch.Tensor) -> dict[str, float]:
    """Signs of collapse of joints [N, K, 2] and centred skeleton images [N, C, s, s], not yet over anything."""
    pose = joints - joints.mean(1, keepdim=True)
    pose = pose / pose.norm(dim=-1).mean(1)[:, None, None].clamp(min=1e-3)
    lines = (0.5 * (skeleton_image + 1.0)).clamp(0.0, 1.0)
    return {
        "spread": float(pose.std(0, correction=0).mean()),
        "variation": float(lines.std(0, correction=0).mean()),
        "ink": float(lines.mean()),
    }
