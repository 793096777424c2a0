"""Channels of the skeleton image: by meaning, or dealt at random as a control."""

from collections import Counter

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.config import SkeletonImageConfig, load_config, override_config, with_networks_of
from trainer.models.channels import channel_of_edges, dealt
from trainer.models.pose_model import build_pose_model
from trainer.models.sides import ViewerSides
from trainer.models.skeleton_image import SkeletonImage
from trainer.training.drawings import spoilt_drawings
from trainer.training.logs import MIXED_HUES, SIDE_HUES, channel_colours

H36M = load_skeleton("h36m17")


def random_channels(channels, seed=0):
    return channel_of_edges(SkeletonImageConfig(channels=channels, grouping="random", grouping_seed=seed), H36M)


@pytest.mark.parametrize("channels", [3, 5, 7, 9])
def test_the_deal_keeps_the_number_and_the_sizes_of_channels(channels):
    semantic = H36M.edge_groups(channels)
    for seed in range(20):
        groups = random_channels(channels, seed)
        assert Counter(groups) == Counter(semantic) and set(groups) == set(range(channels))


def test_deals_differ_by_seed_and_from_the_meaning():
    deals = {random_channels(5, seed) for seed in range(20)}
    assert len(deals) == 20 and H36M.edge_groups(5) not in deals


def test_a_deal_follows_from_its_seed_for_ever():
    """A run stores the seed alone: were the deal another one day, its weights would fit no drawing."""
    assert dealt((0, 0, 1, 1, 2, 2), 0) == (2, 1, 2, 0, 0, 1)


@pytest.mark.parametrize("channels", [1, "edges"])
def test_where_there_is_nothing_to_deal_out_random_is_refused(channels):
    with pytest.raises(UserError, match="random deals nothing out"):
        load_config("pretrain", (f"model.skeleton_image.channels={channels}", "model.skeleton_image.grouping=random"))


def test_each_channel_of_a_random_grouping_shows_its_own_edges_and_no_other():
    groups = random_channels(3)
    joints = torch.rand(4, 17, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    drawing = SkeletonImage(H36M.edges, groups, 32, 15.0)(joints)
    for channel in range(3):
        alone = [
            SkeletonImage([edge], [0], 32, 15.0)(joints)[:, 0]
            for edge, group in zip(H36M.edges, groups, strict=True)
            if group == channel
        ]
        torch.testing.assert_close(drawing[:, channel], torch.stack(alone).amax(0))


@pytest.mark.parametrize("channels", [3, 5])
def test_with_left_and_right_exchanged_a_drawing_has_its_channels_exchanged(channels):
    draw = SkeletonImage(H36M.edges, H36M.edge_groups(channels), 32, 15.0)
    joints = torch.rand(3, 17, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    exchanged = draw(joints[:, list(H36M.swap)])
    torch.testing.assert_close(exchanged, draw(joints)[:, list(H36M.mirror_groups(channels))], atol=1e-5, rtol=0)


def test_spoilt_drawings_of_a_random_grouping_show_no_more_than_both_sides_limbs():
    """Where a channel is brighter than its own limbs, the mirror images of just these limbs are drawn there."""
    torch.manual_seed(0)
    draw = SkeletonImage(H36M.edges, random_channels(3), 32, 15.0)
    joints = torch.rand(40, 17, 2) - 0.5
    own, exchanged = draw(joints), draw(joints[:, list(H36M.swap)])
    spoilt = 0.5 * (spoilt_drawings(joints, draw, H36M) + 1.0)
    # Noise and specks are set aside by looking at what is much brighter than both.
    brighter = (spoilt - torch.maximum(own, exchanged)).flatten(1).median(1).values
    assert brighter.abs().max() < 0.15
    gained = ((spoilt - own) > 0.4) & (exchanged > own + 0.4)
    assert gained.any()


def test_the_viewer_s_sides_are_exchanged_before_drawing_whatever_the_grouping():
    sides, groups = ViewerSides(H36M), random_channels(5)
    by_viewer = SkeletonImage(H36M.edges, groups, 32, 15.0, sides)
    by_name = SkeletonImage(H36M.edges, groups, 32, 15.0)
    joints = torch.rand(8, 17, 2, generator=torch.Generator().manual_seed(2)) - 0.5
    turned = sides.turned(joints)
    assert 0 < turned.sum() < 8
    torch.testing.assert_close(by_viewer(joints), by_name(sides.exchange(joints, turned)))


def test_colours_tell_sides_where_channels_have_one_and_none_where_they_are_mixed():
    colours = channel_colours(H36M, H36M.edge_groups(3)).tolist()
    assert colours == [list(SIDE_HUES[side]) for side in ("right", "left", "centre")]
    assert channel_colours(H36M, H36M.edge_groups(1)).tolist() == [list(SIDE_HUES["centre"])]
    assert channel_colours(H36M, random_channels(3)).tolist() == [list(hue) for hue in MIXED_HUES[:3]]


def test_a_run_that_starts_from_a_dealt_one_keeps_its_deal():
    trained = load_config("small", ("model.skeleton_image.grouping=random", "model.skeleton_image.grouping_seed=3"))
    config = with_networks_of(load_config("finetune"), trained)
    again = override_config(config, ())
    model = build_pose_model(again.model, H36M, again.data.input_size_px, pretrained=False)
    assert model.draw.groups == random_channels(5, 3)
