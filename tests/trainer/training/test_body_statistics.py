"""Limits and typical poses, measured on labels: their own frames keep to them, mirrored or not; broken ones do not."""

import math
from dataclasses import replace

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.data.streams import load_evaluation_set
from trainer.training.body_statistics import half_angles, joint_limits, typical_poses

H36M = load_skeleton("h36m17")
CPU = torch.device("cpu")
PARENTS = tuple(parent if parent >= 0 else joint for joint, parent in enumerate(H36M.parents))


@pytest.fixture(scope="module")
def batches(painted_dataset):
    return load_evaluation_set(painted_dataset(scenes=8, frames=4), H36M, 32)


def about(axis, angle):
    """[3, 3] rotation about x, y or z."""
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    rotation = torch.eye(3)
    first, second = {0: (1, 2), 1: (2, 0), 2: (0, 1)}[axis]
    rotation[[[first], [second]], [first, second]] = turn
    return rotation


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angle", [-2.5, -0.3, 0.0, 1.0, 3.0])
def test_half_angles_are_the_axis_times_the_sine_of_half_the_angle(axis, angle):
    found = half_angles(about(axis, angle)[None, None], (0,))
    assert (found == 0).all(), "the root has no parent to turn against"
    chain = torch.stack([torch.eye(3), about(axis, angle)])[None]
    expected = torch.zeros(3)
    expected[axis] = math.sin(angle / 2)
    torch.testing.assert_close(half_angles(chain, (0, 0))[0, 1], expected, atol=1e-6, rtol=0)


def test_half_angles_have_a_finite_gradient_at_rest_and_at_half_a_turn():
    for angle in (0.0, math.pi):
        rotations = torch.stack([torch.eye(3), about(0, angle)])[None].requires_grad_()
        half_angles(rotations, (0, 0)).square().sum().backward()
        assert rotations.grad.isfinite().all()


def test_labels_and_their_mirror_images_keep_to_the_limits_and_a_knee_bent_the_wrong_way_does_not(batches):
    limits = joint_limits(batches, H36M, CPU)
    rotations = torch.cat([batch.rotations_cam for batch in batches])
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    mirrored = mirror @ rotations[:, list(H36M.swap)] @ mirror
    assert limits.excess(rotations).max() == 0
    assert limits.excess(mirrored).max() == 0
    knee = H36M.index("right_knee")
    broken = rotations.clone()
    broken[:, knee] = broken[:, PARENTS[knee]] @ about(0, 2.5)
    assert (limits.excess(broken)[:, knee, 0] > 0.1).all()


def test_typical_poses_cost_nothing_mirrored_or_not_and_the_mean_is_no_better(batches):
    typical = typical_poses(batches, H36M, CPU)
    joints = torch.cat([batch.joints_cam for batch in batches])
    rotations = torch.cat([batch.rotations_cam for batch in batches])
    strange = typical.strangeness(joints, rotations)
    assert (strange == 0).float().mean() >= 0.9
    swap, mirror = list(H36M.swap), torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    mirrored = typical.strangeness((joints @ mirror)[:, swap], mirror @ rotations[:, swap] @ mirror)
    torch.testing.assert_close(mirrored, strange, atol=1e-3, rtol=1e-2)
    resting = torch.tensor(H36M.rest_m, dtype=torch.float32)[None]
    assert typical.strangeness(resting, torch.eye(3).expand(1, 17, 3, 3)).item() == 0
    crumpled = joints[:, torch.randperm(17, generator=torch.Generator().manual_seed(0))]
    assert typical.strangeness(crumpled, rotations).mean() > 1.0


def test_strangeness_does_not_ask_where_how_large_or_which_way(batches):
    typical = typical_poses(batches, H36M, CPU)
    joints = batches[0].joints_cam + 0.1 * torch.randn(batches[0].joints_cam.shape)
    rotations = batches[0].rotations_cam
    turn = about(1, 2.0) @ about(0, 0.4)
    moved = 1.7 * joints @ turn.T + torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(
        typical.strangeness(moved, turn @ rotations), typical.strangeness(joints, rotations), atol=1e-3, rtol=1e-3
    )


def test_without_rotations_limits_are_refused_and_no_pose_is_typical(batches):
    blind = [replace(batch, rotations_cam=torch.full_like(batch.rotations_cam, torch.nan)) for batch in batches]
    with pytest.raises(UserError, match=r"losses\.joint_limits: no held-out labelled frame"):
        joint_limits(blind, H36M, CPU)
    assert typical_poses(blind, H36M, CPU) is None
