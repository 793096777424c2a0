"""The analytic skeleton image against the plain formula, finite differences and its own symmetries."""

import math
import warnings

import pytest
import torch

from posecore.skeleton import load_skeleton, skeleton_names
from trainer.models.sides import ViewerSides
from trainer.models.skeleton_image import SkeletonImage, draw_edges, pixel_centres

H36M = load_skeleton("h36m17")


def draw_edges_plainly(joints, edges, groups, size, sharpness):
    """Distance to every edge at every pixel, one exponential an edge, maximum over each group."""
    centres = pixel_centres(size, joints)
    pixels = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    starts, ends = (joints[:, list(column)] for column in zip(*edges, strict=True))
    span = (ends - starts)[:, :, None]
    from_start = pixels - starts[:, :, None]
    t = ((from_start * span).sum(-1) / span.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = ((from_start - t[..., None] * span).square().sum(-1) + 1e-6).sqrt()
    lines = torch.exp(-sharpness * distance)
    members = [[e for e, group in enumerate(groups) if group == channel] for channel in range(max(groups) + 1)]
    return torch.stack([lines[:, own].amax(1) for own in members], 1).reshape(len(joints), -1, size, size)


def random_joints(batch, dtype=torch.float32, seed=0, num_joints=H36M.num_joints):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, num_joints, 2, generator=generator, dtype=dtype) * 1.6 - 0.8


@pytest.mark.parametrize("name", skeleton_names())
@pytest.mark.parametrize("channels", [1, 3, 5, 7, 9, "edges"])
def test_drawing_equals_the_plain_formula(name, channels):
    skeleton = load_skeleton(name)
    groups = skeleton.edge_groups(len(skeleton.edges) if channels == "edges" else channels)
    joints = random_joints(3, num_joints=skeleton.num_joints)
    drawn = draw_edges(joints, skeleton.edges, groups, 32, 25.0)
    expected = draw_edges_plainly(joints, skeleton.edges, groups, 32, 25.0)
    assert drawn.shape == (3, max(groups) + 1, 32, 32)
    torch.testing.assert_close(drawn, expected, atol=2e-6, rtol=0)


def test_a_channel_without_edges_stays_empty():
    joints = random_joints(2)
    drawn = draw_edges(joints, [(0, 1), (1, 2)], [0, 2], 16, 25.0)
    assert (drawn[:, 1] == 0).all() and (drawn[:, [0, 2]].amax((2, 3)) > 0.3).all()


@pytest.mark.slow
def test_the_compiled_drawing_is_the_drawing_in_one_graph():
    image = SkeletonImage(H36M.edges, H36M.edge_groups(5), 32, 12.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        compiled = torch.compile(image, fullgraph=True)
        upstream = torch.randn(3, 5, 32, 32, generator=torch.Generator().manual_seed(1))
        results = []
        for draw in (image, compiled):
            joints = random_joints(3).requires_grad_()
            drawn = draw(joints)
            drawn.backward(upstream)
            results.append((drawn.detach(), joints.grad))
    torch.testing.assert_close(results[1][0], results[0][0], atol=2e-6, rtol=0)
    torch.testing.assert_close(results[1][1], results[0][1], atol=1e-3, rtol=1e-4)


def test_memory_that_waits_for_the_backward_pass_does_not_grow_with_the_edges():
    def kept_bytes(edges, groups):
        storages = {}

        def note(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            draw_edges(random_joints(4).requires_grad_(), edges, groups, 64, 25.0)
        return sum(storages.values())

    one = kept_bytes(H36M.edges[:1], (0,))
    assert kept_bytes(H36M.edges, (0,) * len(H36M.edges)) < 1.02 * one
    assert one < 4.0 * 4 * 64 * 64 * 4


def test_gradient_matches_finite_differences():
    joints = random_joints(2, torch.float64).requires_grad_()
    groups = H36M.edge_groups(5)
    assert torch.autograd.gradcheck(lambda p: draw_edges(p, H36M.edges, groups, 8, 5.0), (joints,))


def test_float32_gradient_is_as_good_as_the_plain_formula_in_float64():
    joints, groups = random_joints(2), H36M.edge_groups(5)
    upstream = torch.randn(2, 5, 48, 48, generator=torch.Generator().manual_seed(1))
    single = joints.clone().requires_grad_()
    draw_edges(single, H36M.edges, groups, 48, 25.0).backward(upstream)
    double = joints.double().requires_grad_()
    draw_edges_plainly(double, H36M.edges, groups, 48, 25.0).backward(upstream.double())
    assert (single.grad - double.grad).abs().max() < 1e-4 * double.grad.abs().max()


def test_an_edge_of_no_length_is_a_point_with_finite_gradient():
    joints = torch.zeros(1, 2, 2, requires_grad=True)
    drawn = draw_edges(joints, [(0, 1)], [0], 9, 25.0)
    drawn.sum().backward()
    drawn = drawn.detach()
    assert drawn[0, 0, 4, 4] == pytest.approx(math.exp(-25 * 1e-3), abs=1e-6)
    assert drawn[0, 0, 4, 6] == drawn[0, 0, 6, 4]
    assert joints.grad.isfinite().all()


def test_peak_is_975_permille_and_the_edge_has_no_direction():
    joints = torch.tensor([[[-0.5, 1 / 64], [0.5, 1 / 64]]])
    forth = draw_edges(joints, [(0, 1)], [0], 64, 25.0)
    back = draw_edges(joints, [(1, 0)], [0], 64, 25.0)
    assert forth.max() == pytest.approx(0.97531, abs=1e-4)
    torch.testing.assert_close(forth, back)


def test_half_value_lies_28_thousandths_off_the_line():
    beside = torch.tensor([[[-2.0, 2 / 9 + math.log(2) / 25], [2.0, 2 / 9 + math.log(2) / 25]]])
    assert draw_edges(beside, [(0, 1)], [0], 9, 25.0)[0, 0, 5, 4] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("name", skeleton_names())
@pytest.mark.parametrize("channels", [1, 3, 5, 7, 9, "edges"])
@pytest.mark.parametrize("is_viewer", [False, True])
def test_mirrored_drawing_is_the_drawing_of_the_mirrored_pose(name, channels, is_viewer):
    skeleton = load_skeleton(name)
    num_channels = len(skeleton.edges) if channels == "edges" else channels
    sides = ViewerSides(skeleton) if is_viewer else None
    image = SkeletonImage(skeleton.edges, skeleton.edge_groups(num_channels), 24, 12.0, sides)
    joints = random_joints(3, seed=2, num_joints=skeleton.num_joints)
    mirrored = (joints * torch.tensor([-1.0, 1.0]))[:, list(skeleton.swap)]
    expected = image(joints).flip(-1)[:, list(skeleton.mirror_groups(num_channels))]
    torch.testing.assert_close(image(mirrored), expected, atol=1e-5, rtol=0)


def test_an_edge_with_an_unknown_joint_is_left_out_and_passes_no_gradient():
    joints = torch.tensor([[[-0.5, 0.0], [0.5, 0.0], [float("nan"), 0.0]]], requires_grad=True)
    drawn = draw_edges(joints, [(0, 1), (1, 2)], [0, 0], 16, 25.0)
    torch.testing.assert_close(drawn, draw_edges(joints[:, :2], [(0, 1)], [0], 16, 25.0))
    empty = draw_edges(joints, [(0, 1), (1, 2)], [0, 1], 16, 25.0)
    assert (empty[:, 1] == 0).all()
    (drawn.sum() + empty.sum()).backward()
    assert joints.grad.isfinite().all() and (joints.grad[:, 2] == 0).all()


def test_autocast_does_not_coarsen_the_drawing():
    image = SkeletonImage(H36M.edges, H36M.edge_groups(5), 32, 25.0)
    joints = random_joints(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = image(joints)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, image(joints))
