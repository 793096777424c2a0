"""Sides: the viewer's naming, and what mirroring must and does carry along."""

from dataclasses import replace

import pytest
import torch

from posecore.skeleton import load_skeleton, skeleton_names
from trainer.config import ModelConfig, TrainConfig
from trainer.data.batch import Batch
from trainer.models.encoder import TurnedHead
from trainer.models.pose_head import Pose2D
from trainer.models.pose_model import PoseOutput, build_pose_model
from trainer.models.rotations import matrix_from_rotation_6d
from trainer.models.sides import ViewerSides
from trainer.models.skeleton_image import SkeletonImage
from trainer.models.uplift import Pose3D, Uplift
from trainer.training.losses import turned_loss
from trainer.training.pretrain import supervised_terms

H36M = load_skeleton("h36m17")
MIRROR = torch.tensor([-1.0, 1.0])
SMALL = {
    "encoder": {"name": "unet", "width": 8},
    "skeleton_image": {"size": 32, "sides": "viewer"},
    "pose_head": {"width": 8},
    "uplift": {"width": 16, "blocks": 1},
    "image_renderer": {"size": 32, "width": 8},
}


def random_joints(batch, num_joints=17, seed=0):
    return torch.rand(batch, num_joints, 2, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


def mirrored(joints, skeleton=H36M):
    """Joints [B, K, 2 or 3] of the mirrored picture."""
    flip = torch.ones(joints.shape[-1])
    flip[0] = -1
    return (joints * flip)[:, list(skeleton.swap)]


def front_view():
    """[1, 17, 2] the rest pose seen from the front: its left is at the picture's right."""
    rest = torch.tensor(H36M.rest_m, dtype=torch.float32)
    return 0.4 * torch.stack([rest[:, 0], -rest[:, 2]], -1)[None]


def test_a_back_is_turned_and_a_front_is_not():
    sides, back = ViewerSides(H36M), front_view() * MIRROR
    assert sides.turned(torch.cat([front_view(), back])).tolist() == [False, True]


@pytest.mark.parametrize("name", skeleton_names())
def test_a_mirrored_picture_shows_a_back_where_the_picture_did(name):
    skeleton = load_skeleton(name)
    joints = random_joints(32, skeleton.num_joints)
    sides = ViewerSides(skeleton)
    assert torch.equal(sides.turned(mirrored(joints, skeleton)), sides.turned(joints))


def test_to_exchange_the_sides_twice_is_to_do_nothing():
    sides, joints = ViewerSides(H36M), random_joints(8)
    turned = sides.turned(joints)
    assert 0 < turned.sum() < 8
    assert torch.equal(sides.exchange(sides.exchange(joints, turned), turned), joints)


def test_an_unknown_pair_does_not_decide_who_shows_the_back():
    joints = front_view() * MIRROR
    joints[0, H36M.index("left_hip")] = torch.nan
    assert ViewerSides(H36M).turned(joints).tolist() == [True]


def test_limbs_that_swing_across_do_not_turn_a_body():
    joints, swap = front_view(), list(H36M.swap)
    limbs = [j for j, name in enumerate(H36M.joints) if name.split("_")[-1] in ("knee", "ankle", "elbow", "wrist")]
    joints[:, limbs] = 2 * joints[:, swap][:, limbs]
    assert (joints[:, limbs, 0] - front_view()[:, limbs, 0]).abs().min() > 0.05
    assert ViewerSides(H36M).turned(joints).tolist() == [False]


def test_the_viewer_s_drawing_forgets_which_way_a_body_faces():
    """A front and a back that differ by the names of their sides alone make one drawing."""
    groups = H36M.edge_groups(5)
    viewer = SkeletonImage(H36M.edges, groups, 32, 12.0, ViewerSides(H36M))
    plain = SkeletonImage(H36M.edges, groups, 32, 12.0)
    front = front_view()
    back = front[:, list(H36M.swap)]
    torch.testing.assert_close(viewer(back), viewer(front))
    torch.testing.assert_close(viewer(front), plain(front))
    assert (plain(back) - plain(front)).abs().max() > 0.5


def viewer_model():
    torch.manual_seed(0)
    return build_pose_model(ModelConfig.model_validate(SMALL), H36M, 64)


def test_known_joints_name_the_estimate_and_elsewhere_the_encoder_s_guess_does():
    model, images = viewer_model(), torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    front, back = front_view(), front_view() * MIRROR
    unknown = torch.full_like(front, torch.nan)
    as_seen = model.pose_head(model.encoder(images).skeleton_image).joints
    with torch.no_grad():
        model.encoder.turned.read[-1].weight.zero_()
        for bias, is_turned in ((-1.0, False), (1.0, True)):
            model.encoder.turned.read[-1].bias.fill_(bias)
            output = model(images, 0.0, known_joints=torch.cat([front, back, unknown]))
            torch.testing.assert_close(output.pose_2d.joints[0], as_seen[0])
            torch.testing.assert_close(output.pose_2d.joints[1], as_seen[1, list(H36M.swap)])
            expected = as_seen[2, list(H36M.swap)] if is_turned else as_seen[2]
            torch.testing.assert_close(output.pose_2d.joints[2], expected)
            assert ((output.turned_logit > 0) == is_turned).all()


def test_the_back_is_told_by_what_lies_at_the_joints():
    """Learnable only there: at the head's joint one colour or another, the rest of the picture alike."""
    torch.manual_seed(0)
    head = TurnedHead([3], 2, width=16)
    joints = torch.rand(32, 2, 2, generator=torch.Generator().manual_seed(2)) * 1.6 - 0.8
    shade = torch.rand(32, generator=torch.Generator().manual_seed(3)) < 0.5
    maps = torch.zeros(32, 3, 24, 24)
    for row, (x, y) in enumerate(((joints[:, 0] + 1) * 12).long().tolist()):
        maps[row, 0, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 1.0 if shade[row] else -1.0
    optimiser = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(40):
        loss = turned_loss(head([maps], joints), shade)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((head([maps], joints) > 0) == shade).all()
    elsewhere = joints.roll(1, 1)
    assert ((head([maps], elsewhere) > 0) == shade).float().mean() < 0.9


@pytest.mark.parametrize("name", ["h36m17", "coco17", "smpl24", "ap10k17"])
@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
def test_forward_kinematics_and_reprojection_of_a_mirrored_pose_are_mirrored(name, camera):
    """Rotations become M R M, sides change names: then joints and reprojection are the mirror image."""
    skeleton = load_skeleton(name)
    swap, mirror = list(skeleton.swap), torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    uplift = Uplift(skeleton, width=16, num_blocks=1, camera=camera)
    # The template itself is symmetric but for what sculpting left.
    uplift.offsets.copy_(0.5 * (uplift.offsets + mirrored(uplift.offsets[None], skeleton)[0]))
    root = skeleton.parents.index(-1)
    generator = torch.Generator().manual_seed(0)
    local = torch.linalg.qr(torch.randn(4, skeleton.num_joints, 3, 3, generator=generator))[0]
    local = local * torch.linalg.det(local)[..., None, None]
    facing = local[:, root]
    offsets = uplift.offsets.expand(4, -1, -1)
    rotations, points = uplift._walk(facing, local, offsets)
    mirrored_rotations, mirrored_points = uplift._walk(
        mirror @ facing @ mirror, mirror @ local[:, swap] @ mirror, offsets
    )
    torch.testing.assert_close(mirrored_points, mirrored(points, skeleton), atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored_rotations, mirror @ rotations[:, swap] @ mirror, atol=1e-5, rtol=0)
    scale, place = torch.full((4,), 0.4), torch.tensor([[0.1, -0.2]]).expand(4, 2)
    seen = uplift._project(points, scale, place, None, 64)
    seen_mirrored = uplift._project(mirrored_points, scale, place * MIRROR, None, 64)
    torch.testing.assert_close(seen_mirrored, mirrored(seen, skeleton), atol=1e-5, rtol=0)


def test_losses_of_a_mirrored_batch_and_a_mirrored_estimate_are_the_same():
    """What supervision asks of a picture it asks, mirrored, of the mirrored one."""
    config, batch, output = _a_batch_and_its_estimate()
    mirror, swap = torch.diag(torch.tensor([-1.0, 1.0, 1.0])), list(H36M.swap)
    model = build_pose_model(config.model, H36M, 64, pretrained=False)
    channels = list(H36M.mirror_groups(5))
    other_batch = replace(
        batch,
        joints=mirrored(batch.joints),
        joint_weight=batch.joint_weight[:, swap],
        joints_cam=mirrored(batch.joints_cam),
        rotations_cam=(mirror @ batch.rotations_cam @ mirror)[:, swap],
    )
    pose_3d = output.pose_3d
    sign = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
    other_output = output._replace(
        skeleton_image=output.skeleton_image.flip(-1)[:, channels],
        facing_6d=output.facing_6d * sign,
        pose_2d=Pose2D(mirrored(output.pose_2d.joints), output.pose_2d.confidence[:, swap]),
        pose_3d=pose_3d._replace(
            joints=mirrored(pose_3d.joints),
            rotations=(mirror @ pose_3d.rotations @ mirror)[:, swap],
            lengths=pose_3d.lengths[:, swap],
            reprojected=mirrored(pose_3d.reprojected),
        ),
    )
    expected = supervised_terms(output, batch, model, config)
    found = supervised_terms(other_output, other_batch, model, config)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 0, name
        torch.testing.assert_close(
            found[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    # An estimate that forgot to exchange its channels is told apart.
    forgetful = other_output._replace(skeleton_image=output.skeleton_image.flip(-1))
    assert supervised_terms(forgetful, other_batch, model, config)["skeleton_image"] > 1.1 * expected["skeleton_image"]


def _a_batch_and_its_estimate():
    model = {**SMALL, "skeleton_image": {"size": 32, "sharpness": 12.0}}
    config = TrainConfig.model_validate({"stage": "pretrain", "schedule": {"steps": 1}, "model": model})
    generator = torch.Generator().manual_seed(5)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    joints = random_joints(2, seed=3)
    batch = Batch(
        images=torch.zeros(2, 3, 64, 64),
        partners=torch.zeros(2, 3, 64, 64),
        keys=("a", "b"),
        is_real=False,
        joints=joints,
        joint_weight=(noise(2, 17) > -1).float(),
        joints_cam=noise(2, 17, 3),
        rotations_cam=matrix_from_rotation_6d(noise(2, 17, 6)),
    )
    draw = SkeletonImage(H36M.edges, H36M.edge_groups(5), 32, 12.0)
    near = joints + 0.1 * noise(2, 17, 2)
    pose_3d = Pose3D(
        joints=noise(2, 17, 3),
        rotations=matrix_from_rotation_6d(noise(2, 17, 6)),
        lengths=1 + 0.1 * noise(2, 17),
        reprojected=joints + 0.1 * noise(2, 17, 2),
        scale=torch.ones(2),
        root=torch.zeros(2, 2),
    )
    confidence = torch.ones(2, 17)
    output = PoseOutput(draw.centred(near), noise(2, 6), Pose2D(near, confidence), pose_3d, near)
    return config, batch, output
