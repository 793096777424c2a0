"""Batches as training and evaluation get them: labels that agree, and evaluation sets without chance."""

import numpy as np
import torch

from posecore.camera import project_cam
from posecore.skeleton import load_skeleton
from trainer.data.config import CropConfig, DataConfig
from trainer.data.streams import load_evaluation_set, pose_prior_stream, synthetic_stream

H36M = load_skeleton("h36m17")
SMALL = {"input_size_px": 32, "synthetic_batch_size": 4, "prior_batch_size": 4}
CACHED = DataConfig(**SMALL)


def test_labels_of_a_batch_agree_with_each_other(painted_dataset):
    batch = next(synthetic_stream(painted_dataset(), H36M, CACHED, seed=3))
    assert batch.images.shape == batch.partners.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert not batch.is_real
    assert batch.subject_mask.shape == (4, 1, 32, 32)
    for i in range(4):
        px = project_cam(batch.camera_K[i].double().numpy(), batch.joints_cam[i].double().numpy())
        np.testing.assert_allclose(2 * px / 32 - 1, batch.joints[i], atol=2e-4)
    inside = (batch.joints.abs() < 1).all(dim=-1)
    assert torch.equal(batch.joint_weight > 0, inside & (batch.visibility > 0))
    identity = batch.rotations_cam @ batch.rotations_cam.transpose(-1, -2)
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-4)


def test_the_pose_prior_has_the_framing_of_the_images(painted_dataset):
    data = DataConfig(**SMALL, crop=CropConfig(shift=0, scale=(1, 1), roll_deg=0))
    poses = next(pose_prior_stream(painted_dataset(), H36M, data, seed=0))
    assert poses.shape == (4, 17, 2)
    assert poses.dtype == torch.float32
    assert (poses.abs() < 1.05).all()


def test_an_evaluation_set_is_complete_ordered_and_always_the_same(painted_dataset):
    folder = painted_dataset(scenes=5, frames=2)
    first, second = (load_evaluation_set(folder, H36M, 48, batch_size=4) for _ in range(2))
    keys = [key for batch in first for key in batch.keys]
    assert keys == sorted(keys)
    assert len(keys) == 10
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))
    some = load_evaluation_set(folder, H36M, 48, max_samples=3)
    assert sum(batch.size for batch in some) == 3
