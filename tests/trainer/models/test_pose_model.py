"""The networks: shapes, gradients, and the facts that the uplift must respect."""

import numpy as np
import pytest
import torch

from posecore.camera import project_cam
from posecore.skeleton import load_skeleton
from trainer.config import ModelConfig
from trainer.models.pose_head import read_heatmaps
from trainer.models.pose_model import build_pose_model
from trainer.models.rotations import matrix_from_rotation_6d
from trainer.models.uplift import Uplift
from trainer.training.losses import huber

H36M = load_skeleton("h36m17")
SMALL = {
    "skeleton_image": {"channels": 5, "size": 32, "sharpness": 12.0},
    "pose_head": {"width": 16},
    "uplift": {"width": 32, "blocks": 1},
    "image_renderer": {"size": 32, "width": 8, "halvings": 2},
}
ENCODERS = {
    "efficientnet_lite0": {"name": "efficientnet_lite0", "widths": (32, 24, 16, 16)},
    "unet": {"name": "unet", "width": 8},
}


def small_model(encoder="efficientnet_lite0", tell_facing="deepest"):
    torch.manual_seed(0)
    config = ModelConfig.model_validate({**SMALL, "encoder": {**ENCODERS[encoder], "tell_facing": tell_facing}})
    return build_pose_model(config, H36M, image_size=64, pretrained=False)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_pass_gives_every_output_in_its_shape(encoder):
    output = small_model(encoder)(torch.rand(3, 3, 64, 64), blend=0.5, partners=torch.rand(2, 3, 64, 64))
    assert output.skeleton_image.shape == (3, 5, 32, 32)
    assert output.joints.shape == (3, 17, 2)
    assert output.pose_3d.joints.shape == (3, 17, 3)
    assert output.pose_3d.rotations.shape == (3, 17, 3, 3)
    assert output.drawing.shape == (2, 5, 32, 32)
    assert output.reconstruction.shape == (2, 3, 32, 32)
    assert ((output.pose_2d.confidence >= 0) & (output.pose_2d.confidence <= 1)).all()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_picture_teaches_encoder_head_and_uplift_through_the_drawing(encoder):
    model = small_model(encoder)
    output = model(torch.rand(2, 3, 64, 64), blend=1.0, partners=torch.rand(2, 3, 64, 64))
    output.reconstruction.square().mean().backward()
    for name in ("encoder", "pose_head", "uplift", "image_renderer"):
        gradients = [p.grad for p in getattr(model, name).parameters() if p.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients), name
        assert all(g.isfinite().all() for g in gradients), name


def test_the_picture_teaches_no_pose_where_it_must_not():
    model = small_model()
    images = torch.rand(2, 3, 64, 64)
    output = model(images, blend=0.5, partners=images, image_teaches_pose=False)
    output.reconstruction.square().mean().backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.pose_head.parameters())


def test_a_true_pose_is_drawn_in_place_of_the_estimate_and_only_there():
    model = small_model()
    images = torch.rand(2, 3, 64, 64)
    true = torch.full((2, 17, 2), float("nan"))
    true[0] = torch.linspace(-0.5, 0.5, 17)[:, None]
    output = model(images, blend=0.0, partners=images, true_joints=true)
    torch.testing.assert_close(output.drawing[:1], model.draw.centred(true[:1]))
    torch.testing.assert_close(output.drawing[1:], model.draw.centred(output.joints[1:]))


def test_blend_goes_from_the_pose_head_to_the_reprojection():
    model, images = small_model(), torch.rand(1, 3, 64, 64)
    torch.testing.assert_close((o := model(images, blend=0.0)).joints, o.pose_2d.joints)
    torch.testing.assert_close((o := model(images, blend=1.0)).joints, o.pose_3d.reprojected)


@pytest.mark.parametrize("name", ["h36m17", "coco17", "smpl24", "ap10k17", "human", "quadruped"])
@pytest.mark.parametrize("channels", [1, 3, 5, 7, 9, "edges"])
def test_every_skeleton_in_every_grouping_makes_a_model(name, channels):
    skeleton = load_skeleton(name)
    torch.manual_seed(0)
    changes = {"skeleton_image": {"channels": channels, "size": 16}, "encoder": ENCODERS["unet"]}
    model = build_pose_model(ModelConfig.model_validate({**SMALL, **changes}), skeleton, 32)
    output = model(torch.rand(2, 3, 32, 32), blend=0.5, partners=torch.rand(2, 3, 32, 32))
    num_channels = len(skeleton.edges) if channels == "edges" else channels
    assert output.skeleton_image.shape == output.drawing.shape == (2, num_channels, 16, 16)
    assert output.joints.shape == (2, skeleton.num_joints, 2)
    assert output.joints.isfinite().all() and output.reconstruction.isfinite().all()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("told", "listens"), [("nowhere", False), ("deepest", True), ("everywhere", True)])
def test_the_decoder_paints_by_the_facing_where_it_is_told(encoder, told, listens):
    model = small_model(encoder, told)
    images = torch.rand(1, 3, 64, 64)
    for layer in model.encoder.facing.modulate:
        layer.weight.data.normal_()
    before = model.encoder(images)
    model.encoder.facing.read[-1].bias.data += torch.tensor([-2.0, 0.0, 0.5, 0.0, 0.0, 0.0])
    after = model.encoder(images)
    assert (after.facing_6d - before.facing_6d).abs().max() > 1.0
    assert ((after.skeleton_image - before.skeleton_image).abs().max() > 1e-5) == listens
    assert len(model.encoder.facing.modulate) == (0 if told != "everywhere" else 3)


def test_a_sharp_peak_is_read_at_its_cell_s_centre():
    logits = torch.full((1, 1, 8, 8), -50.0)
    logits[0, 0, 2, 5] = 50.0
    pose = read_heatmaps(logits)
    torch.testing.assert_close(pose.joints[0, 0], torch.tensor([2 * 5.5 / 8 - 1, 2 * 2.5 / 8 - 1]))
    assert pose.confidence.item() == pytest.approx(1.0)


def uplift_of(skeleton, **options):
    torch.manual_seed(0)
    return Uplift(skeleton, width=64, num_blocks=2, **options)


@pytest.mark.parametrize("name", ["h36m17", "coco17", "ap10k17"])
def test_identity_rotations_give_the_rest_pose(name):
    skeleton = load_skeleton(name)
    uplift = uplift_of(skeleton)
    identity = torch.eye(3).expand(1, skeleton.num_joints, 3, 3)
    _, points = uplift._walk(torch.eye(3)[None], identity, uplift.offsets[None])
    root = skeleton.parents.index(-1)
    np.testing.assert_allclose(points[0].numpy(), skeleton.rest_m - skeleton.rest_m[root], atol=1e-6)


def test_bones_keep_their_lengths_whatever_the_rotations():
    uplift = uplift_of(H36M)
    uplift.leave.weight.data.normal_()
    pose = uplift(torch.randn(4, 17, 2), torch.rand(4, 17), torch.randn(4, 6))
    parents = torch.tensor(H36M.parents)
    bones = [j for j in range(17) if H36M.parents[j] >= 0]
    lengths = (pose.joints[:, bones] - pose.joints[:, parents[bones]]).norm(dim=-1)
    template = uplift.offsets[bones].norm(dim=-1)
    ratio = lengths / template / pose.lengths[:, bones]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pose.lengths, pose.lengths[:, list(H36M.swap)])
    torch.testing.assert_close(torch.linalg.det(pose.rotations), torch.ones(4, 17), atol=1e-4, rtol=0)


def test_fresh_uplift_stands_where_the_joints_are_and_faces_where_the_encoder_says():
    uplift = uplift_of(H36M)
    facing = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    rest = torch.tensor(H36M.rest_m, dtype=torch.float32)
    seen = 0.4 * torch.stack([rest[:, 0], -rest[:, 2]], -1)
    pose = uplift((seen - seen[:1])[None], torch.ones(1, 17), facing)
    wanted = matrix_from_rotation_6d(facing)
    assert (pose.rotations[:, 0] - wanted).abs().max() < 0.1
    assert (pose.reprojected[0] - (seen - seen[:1])).norm(dim=-1).mean() < 0.15


def test_a_distant_perspective_camera_is_the_weak_one():
    weak, strong = uplift_of(H36M), uplift_of(H36M, camera="perspective")
    joints, confidence, facing = 0.2 * torch.randn(3, 17, 2), torch.rand(3, 17), torch.randn(3, 6)
    distant = torch.tensor([[1e5, 0.0, 32.0], [0.0, 1e5, 32.0], [0.0, 0.0, 1.0]]).expand(3, 3, 3)
    flat = weak(joints, confidence, facing).reprojected
    torch.testing.assert_close(strong(joints, confidence, facing, distant, 64).reprojected, flat, atol=2e-3, rtol=0)
    unknown = strong(joints, confidence, facing, torch.full((3, 3, 3), float("nan")), 64).reprojected
    torch.testing.assert_close(unknown, strong(joints, confidence, facing).reprojected)


def test_perspective_reprojects_as_the_camera_projects_the_joints_that_stand_before_it():
    uplift = uplift_of(H36M, camera="perspective")
    uplift.leave.weight.data.normal_(std=0.02)
    camera_K = torch.tensor([[90.0, 0.0, 40.0], [0.0, 90.0, 28.0], [0.0, 0.0, 1.0]])
    pose = uplift(0.2 * torch.randn(3, 17, 2), torch.rand(3, 17), torch.randn(3, 6), camera_K.expand(3, 3, 3), 64)
    seen_px = ((pose.reprojected + 1) * 32).detach().numpy()
    slopes = (seen_px - camera_K[:2, 2].numpy()) / 90.0
    for row in range(3):
        # The root stands on its ray; how far away, one joint's parallax tells: X + d r = u (Z + d).
        joints, ray = pose.joints[row].detach().numpy(), slopes[row, uplift.root_index]
        joint, axis = np.unravel_index(np.abs(slopes[row] - ray).argmax(), (17, 2))
        u = slopes[row, joint, axis]
        distance = (u * joints[joint, 2] - joints[joint, axis]) / (ray[axis] - u)
        assert distance > 2.0
        standing = joints + distance * np.array([*ray, 1.0])
        np.testing.assert_allclose(project_cam(camera_K.numpy(), standing), seen_px[row], atol=0.02)
    assert pose.reprojected[:, uplift.root_index].detach().numpy() == pytest.approx(
        pose.root.detach().numpy(), abs=1e-5
    )


@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
def test_uplift_learns_to_reproject_onto_its_input(camera):
    uplift = uplift_of(H36M, camera=camera)
    rest = torch.tensor(H36M.rest_m, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    seen = 0.4 * torch.stack([rest[:, 0], -rest[:, 2]], -1) + 0.03 * torch.randn(8, 17, 2, generator=generator)
    facing = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]]).expand(8, 6)
    optimiser = torch.optim.Adam(uplift.parameters(), 1e-3)
    losses = []
    for _ in range(60):
        loss = huber(uplift(seen, torch.ones(8, 17), facing).reprojected, seen)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_gram_schmidt_is_finite_where_it_is_undefined():
    degenerate = torch.tensor([[0.0] * 6, [1.0, 0.0, 0.0, 2.0, 0.0, 0.0]], requires_grad=True)
    matrix_from_rotation_6d(degenerate).sum().backward()
    assert degenerate.grad.isfinite().all()
