"""Terms of real poses: a small step against the gradient moves the pose the way the term wants."""

import math

import numpy as np
import pytest
import torch

from posecore.camera import Camera, look_at, project
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec, transform_points
from trainer.data.augment import Labels, Warp, warp_labels, world_from_crop
from trainer.models.discriminator import PoseDiscriminator
from trainer.models.rotations import matrix_from_rotation_6d
from trainer.models.uplift import LENGTH_RANGE, Uplift
from trainer.models.views import seen_from
from trainer.training.body_statistics import JointLimits
from trainer.training.losses import bone_loss, discriminator_loss, generator_loss
from trainer.training.pose_terms import (
    in_one_world,
    joint_limit_loss,
    seen_from_anywhere,
    smoothness_loss,
    views_loss,
)

H36M = load_skeleton("h36m17")
PARENTS = [max(parent, 0) for parent in H36M.parents]


def standing(count):
    """[count, 17, 3] the rest pose in camera axes, seen from the front."""
    rest = torch.tensor(H36M.rest_m, dtype=torch.float32)
    return torch.stack([rest[:, 0], -rest[:, 2], rest[:, 1]], -1).expand(count, -1, -1)


def test_a_pose_seen_from_the_side_shows_its_depth_and_one_from_behind_its_mirror_image():
    joints = standing(1) + torch.randn(1, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    level = torch.zeros(1)
    front, side, back = (seen_from(joints, 0, level + angle, level) for angle in (0.0, math.pi / 2, math.pi))
    pose = joints - joints[:, :1]
    pose = pose / pose.norm(dim=-1).mean()
    torch.testing.assert_close(front, pose[..., :2])
    torch.testing.assert_close(side[..., 0], pose[..., 2], atol=1e-5, rtol=0)
    torch.testing.assert_close(back, front * torch.tensor([-1.0, 1.0]), atol=1e-5, rtol=0)


def test_views_do_not_depend_on_size_or_place():
    joints, angle = standing(2), torch.tensor([0.3, 1.2])
    moved = 3.0 * joints + torch.tensor([1.0, -2.0, 5.0])
    torch.testing.assert_close(seen_from(moved, 0, angle, angle), seen_from(joints, 0, angle, angle))


def test_the_pose_prior_straightens_a_depth_that_the_camera_does_not_see():
    """The body leans along the line of sight: from the front it looks like the prior's own."""
    torch.manual_seed(0)
    judge = PoseDiscriminator(17, width=64)
    bend = 0.6 * (standing(1)[..., 1:2] - standing(1)[:, :1, 1:2]) * torch.tensor([0.0, 0.0, 1.0])

    def noisy(joints):
        return joints + 0.03 * torch.randn(len(joints), 17, 3)

    optimiser = torch.optim.Adam(judge.parameters(), lr=2e-3)
    for _ in range(150):
        real, fake = (
            seen_from_anywhere(noisy(pose.expand(32, -1, -1)), 0) for pose in (standing(1), standing(1) + bend)
        )
        loss = discriminator_loss(judge(real), judge(fake))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    depth = torch.ones(1, requires_grad=True)
    bent = standing(1) + depth * bend
    generator_loss(judge(seen_from_anywhere(bent.expand(256, -1, -1), 0))).backward()
    assert depth.grad.item() > 0, "less of the bend scores better"


def test_bone_lengths_are_drawn_to_the_template():
    lengths = torch.tensor([[1.1, 0.9, 1.0]], requires_grad=True)
    bone_loss(lengths).backward()
    nearer = lengths - 0.1 * lengths.grad
    assert ((nearer - 1.0).abs() <= (lengths - 1.0).abs()).all()
    assert lengths.grad[0, 2] == 0


def test_left_and_right_bones_have_one_length_whatever_the_uplift_says():
    torch.manual_seed(0)
    uplift = Uplift(H36M, width=32, num_blocks=1)
    torch.nn.init.normal_(uplift.leave.weight)
    pose = uplift(torch.randn(8, 17, 2), torch.rand(8, 17), torch.randn(8, 6))
    assert pose.lengths.std() > 0.1 and (pose.lengths - 1.0).abs().max() <= LENGTH_RANGE + 1e-6
    torch.testing.assert_close(pose.lengths, pose.lengths[:, list(H36M.swap)], atol=0, rtol=0)
    parents = [max(parent, 0) for parent in H36M.parents]
    bones = (pose.joints - pose.joints[:, parents]).norm(dim=-1)
    torch.testing.assert_close(bones, bones[:, list(H36M.swap)], atol=1e-5, rtol=0)


def test_a_knee_beyond_its_limit_turns_back_and_one_within_it_stays():
    limits = JointLimits(torch.tensor([[-1.0] * 3, [-0.1] * 3]), torch.tensor([[1.0] * 3, [0.1] * 3]), (0, 0))

    def turned(angle):
        return torch.stack([torch.cos(angle), torch.sin(angle), torch.zeros(()),
                            -torch.sin(angle), torch.cos(angle), torch.zeros(())])  # fmt: skip

    for value, wanted in ((0.8, -1.0), (-0.8, 1.0), (0.1, 0.0)):
        angle = torch.tensor(value, requires_grad=True)
        rotations = torch.stack([torch.eye(3), matrix_from_rotation_6d(turned(angle))])[None]
        joint_limit_loss(rotations, limits).backward()
        assert math.copysign(1.0, -angle.grad.item()) == wanted if wanted else angle.grad.item() == 0


def test_a_jumping_joint_is_drawn_between_its_neighbours_and_steady_motion_costs_nothing():
    around = torch.zeros(1, 2, 1, 2)
    around[0, 1] = 0.2
    now = torch.tensor([[[0.3, 0.1]]], requires_grad=True)
    loss = smoothness_loss(now, around, torch.ones(1))
    loss.backward()
    assert now.grad[0, 0, 0] > 0 and now.grad[0, 0, 1] == 0
    assert smoothness_loss(around.mean(1), around, torch.ones(1)).item() == 0
    assert smoothness_loss(now, around, torch.zeros(1)).item() == 0


@pytest.mark.parametrize("seed", range(3))
def test_directions_are_all_round_and_about_level(seed):
    torch.manual_seed(seed)
    ahead = torch.zeros(2000, 2, 3)
    ahead[:, 1, 2] = 1.0
    views = seen_from_anywhere(ahead, 0)[:, 1] / 2.0
    assert views[:, 0].mean().abs() < 0.05 and views[:, 0].std() == pytest.approx(0.5**0.5, abs=0.05)
    assert views[:, 1].std() < 0.2


def looks_at_middle(camera: Camera, warp: Warp) -> Camera:
    """The camera turned in place, by the least turn, so that it looks at the middle of the crop."""
    ray = np.linalg.solve(camera.K, [*warp.centre_px, 1.0])
    ray /= np.linalg.norm(ray)
    axis = np.cross(ray, [0.0, 0.0, 1.0])
    turn = matrix_from_rotvec(math.acos(ray[2]) * axis / np.linalg.norm(axis))
    cam_from_world = camera.cam_from_world.copy()
    cam_from_world[:3] = turn @ cam_from_world[:3]
    return Camera(camera.width, camera.height, camera.K, cam_from_world)


@pytest.fixture(params=[False, True], ids=["as filmed", "mirrored"])
def seen_twice(request):
    """The true joints of one body as two crops show them, [1, 2, 17, 3], and their rotations to the world.

    Cameras stand apart, rolled; crops lie off their middle, and are rolled and mirrored by `warp_labels`, as labelled
    pictures are.
    """
    rng = np.random.default_rng(0)
    body = H36M.rest_m + rng.normal(0, 0.1, (17, 3)) + [0.4, -0.3, 0.0]
    joints, rotations = [], []
    for number, place in enumerate(([4.0, 1.0, 1.2], [-1.0, 3.5, 2.5])):
        target = body.mean(0) + rng.normal(0, 0.3, 3)
        camera = Camera(200, 200, np.array([[250.0, 0, 100], [0, 250, 100], [0, 0, 1]]),
                        look_at(np.array(place), target, roll_rad=0.4 - number))  # fmt: skip
        centre = project(camera, body.mean(0))
        warp = Warp(tuple(centre), 120.0, 64, roll_rad=0.3 * (number + 1), flip=request.param)
        virtual = looks_at_middle(camera, warp)
        in_camera = transform_points(virtual.cam_from_world, body)
        labels = Labels(project(virtual, body), np.full(17, 3, np.uint8), in_camera, np.full((17, 3, 3), np.nan),
                        virtual.K, np.array([0.0, 0, 100, 100]))  # fmt: skip
        cut = warp_labels(labels, warp, H36M).joints_cam
        joints.append((1.0 + number) * (cut - cut[:1]))  # neither knows the size
        rotations.append(world_from_crop(camera, warp))
    return torch.from_numpy(np.stack(joints))[None], torch.from_numpy(np.stack(rotations))[None]


def test_views_that_are_right_agree_however_they_were_cut(seen_twice):
    joints, world_from_crop = seen_twice
    both = in_one_world(joints, world_from_crop, PARENTS)
    torch.testing.assert_close(both[:, 0], both[:, 1], atol=1e-9, rtol=0)
    bones = (both - both[:, :, PARENTS]).norm(dim=-1)[..., 1:]
    torch.testing.assert_close(bones.mean(-1), torch.ones(1, 2).double())
    assert views_loss(joints, torch.ones(1, 2, 17), world_from_crop, torch.ones(1), PARENTS).item() < 1e-9


def test_a_view_that_is_flipped_is_pulled_to_the_one_that_is_right_and_the_sure_one_moves_less(seen_twice):
    right, world_from_crop = seen_twice
    wrong = right.clone()
    wrong[:, 1] = wrong[:, 1, list(H36M.swap)]
    confidence = torch.tensor([0.9, 0.3]).double()[None, :, None].expand(1, 2, 17)
    joints = wrong.clone().requires_grad_()
    loss = views_loss(joints, confidence, world_from_crop, torch.ones(1), PARENTS)
    loss.backward()
    assert loss > 0.1
    toward = (joints.grad[:, 1] * (wrong - right)[:, 1]).sum(-1)
    assert (toward[:, [j for j, s in enumerate(H36M.swap) if j != s]] > 0).all()
    pulls = (joints.grad * torch.tensor([1.0, 2.0])[None, :, None, None]).norm(dim=(-2, -1))[0]
    assert 0 < pulls[0] < pulls[1]
    assert views_loss(wrong, confidence, world_from_crop, torch.zeros(1), PARENTS) == 0
