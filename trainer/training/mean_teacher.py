"""The baseline to beat: finetuning by a mean teacher, at the budget of analysis-by-synthesis.

After Kim et al. 2022 (a unified framework for domain-adaptive pose estimation), without its style transfer. Each step
takes the same synthetic batch, with the same supervision, as `finetune`; the real batch is seen twice: as it is by the
teacher (the running mean of the weights), strongly changed by the student, who is to find the teacher's joints. Only
the joints that the teacher is most confident of count: a fixed share of each batch, not a fixed confidence, which would
soon let nearly all pass. Real pictures are not reconstructed and nothing is adversarial.
"""

from __future__ import annotations

import torch

from trainer.models.pose_model import PoseModel
from trainer.training.folders import Folders
from trainer.training.losses import huber, subject_weight
from trainer.training.mixed import Mixed
from trainer.training.pretrain import blend_at, inside_frame, supervised_terms
from trainer.training.stage import StepLosses
from trainer.training.strong_view import strong_view
from trainer.training.trainee import Trainee


class MeanTeacher(Mixed):
    """See trainer.training.stage.Stage for what each method is."""

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        super().__init__(trainee, folders)
        trainee.ema.eval()
        self.least_trusted = 0.0
        """Confidence of the last joint that passed the gate."""

    def losses(self, step: int, progress: float) -> StepLosses:
        real = next(self.streams["real"]).to(self.trainee.device)
        synthetic = next(self.streams["synthetic"]).to(self.trainee.device)
        prior_joints, drawings = self._prior_drawings()
        renders = synthetic.partners is not None
        with torch.no_grad():
            taught = self.trainee.ema.module(real.images, self.config.model.answer_blend)
        view = strong_view(real.images, self.config.teacher)
        unknown = real.images.new_full((real.size, *synthetic.joints.shape[1:]), torch.nan)
        output = self.trainee.model(
            torch.cat([synthetic.images, view.images]),
            blend=blend_at(progress, self.config),
            camera_K=torch.cat([synthetic.camera_K, unknown.new_full((real.size, 3, 3), torch.nan)]),
            partners=synthetic.partners,
            true_joints=self._true_joints(synthetic) if renders else None,
            image_teaches_pose=self.pictures_teach,
            drawings=drawings,
            known_joints=torch.cat([synthetic.joints, unknown]),
        )
        weights = self.config.losses
        on_synthetic = output.estimates(slice(None, synthetic.size))
        terms = supervised_terms(on_synthetic, synthetic, self.trainee.plain, self.config)
        terms = {name: self._synthetic_share(progress) * term for name, term in terms.items()}
        terms |= self._pose_head_term(output, prior_joints)
        if renders:
            subject = subject_weight(self._subject(synthetic, output), weights.subject_weight)
            terms["perceptual"] = weights.perceptual * self.perceptual(output.reconstruction, synthetic.images, subject)

        target = taught.joints.detach()
        gate = trusted(taught.pose_2d.confidence, self.config.teacher.trusted)
        self.least_trusted = float(taught.pose_2d.confidence[gate > 0].min())
        gate = gate * inside_frame(view.shown(target))
        student = output.estimates(slice(synthetic.size, None))
        terms["teacher"] = weights.teacher * huber(view.undone(student.pose_2d.joints), target, gate)
        if self.config.model.uplift.in_loop == "end_to_end":
            reprojected = view.undone(student.pose_3d.reprojected)
            terms["teacher_reprojection"] = weights.reprojection * huber(reprojected, target, gate)
        return StepLosses(terms, real.keys + synthetic.keys, real.size + synthetic.size)

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        values, _ = self._gauge_mixed(ema)
        return values | {"least_trusted": self.least_trusted}


def trusted(confidence: torch.Tensor, share: float) -> torch.Tensor:
    """[B, K] confidences -> [B, K] 1 for this share of them, the highest, ties by their order; else 0."""
    count = max(1, round(share * confidence.numel()))
    gate = torch.zeros_like(confidence).flatten()
    gate[confidence.flatten().argsort(descending=True, stable=True)[:count]] = 1.0
    return gate.unflatten(0, confidence.shape)
