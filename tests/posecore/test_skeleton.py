import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import joint_map, load_skeleton, rotation_map, skeleton_names

ALL = skeleton_names()


def test_the_skeletons_of_the_design_are_there() -> None:
    sizes = {name: load_skeleton(name).num_joints for name in ALL}
    derived = {"ap10k17": 17, "coco17": 17, "h36m17": 17, "quadruped21": 21, "smpl24": 24}
    assert sizes == {"human": 43, "quadruped": 32} | derived


@pytest.mark.parametrize("name", ALL)
def test_swap_is_an_involution_that_exchanges_left_and_right(name: str) -> None:
    skeleton = load_skeleton(name)
    swap = np.array(skeleton.swap)
    assert (swap[swap] == np.arange(skeleton.num_joints)).all()
    for joint, other in enumerate(swap):
        sides = {skeleton.side(joint), skeleton.side(int(other))}
        assert sides in ({"left", "right"}, {"centre"})


@pytest.mark.parametrize("name", ALL)
def test_parents_form_one_tree(name: str) -> None:
    skeleton = load_skeleton(name)
    assert skeleton.parents.count(-1) == 1
    assert sorted(skeleton.walk_order) == list(range(skeleton.num_joints))
    place = {joint: number for number, joint in enumerate(skeleton.walk_order)}
    assert all(parent < 0 or place[parent] < place[joint] for joint, parent in enumerate(skeleton.parents))


@pytest.mark.parametrize("name", ALL)
def test_edges_are_symmetric_and_groups_cover_them(name: str) -> None:
    skeleton = load_skeleton(name)
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset(skeleton.swap[joint] for joint in edge) for edge in edges} == edges
    for channels in (1, 3, 5, 7, 9, len(skeleton.edges)):
        assert set(skeleton.edge_groups(channels)) == set(range(channels))
        mirrored = np.array(skeleton.mirror_groups(channels))
        assert (mirrored[mirrored] == np.arange(channels)).all()


def test_one_three_and_five_channels_are_all_then_sides_then_limbs() -> None:
    skeleton = load_skeleton("h36m17")
    right_knee = skeleton.edges.index((skeleton.index("right_hip"), skeleton.index("right_knee")))
    left_elbow = skeleton.edges.index((skeleton.index("left_shoulder"), skeleton.index("left_elbow")))
    assert skeleton.mirror_groups(3) == (1, 0, 2)
    assert skeleton.mirror_groups(5) == (1, 0, 3, 2, 4)
    assert skeleton.edge_groups(5)[right_knee] == 0
    assert skeleton.edge_groups(5)[left_elbow] == 3


@pytest.mark.parametrize("name", skeleton_names())
def test_arms_and_legs_are_whole_pairs_of_joints_that_share_none(name: str) -> None:
    skeleton = load_skeleton(name)
    arms, legs = (set(skeleton.limbs[limb]) for limb in ("arms", "legs"))
    assert len(arms) >= 4 and len(legs) >= 4 and not arms & legs
    for limb in (arms, legs):
        assert {skeleton.swap[joint] for joint in limb} == limb
        assert all(skeleton.swap[joint] != joint for joint in limb)


def test_an_unknown_grouping_names_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"no grouping into 4 channels; choose one of 1, 3, 5, 7, 9, 16"):
        load_skeleton("h36m17").edge_groups(4)


def test_an_unknown_skeleton_names_those_that_exist() -> None:
    with pytest.raises(UserError, match="unknown skeleton 'coco18'; choose one of ap10k17, coco17"):
        load_skeleton("coco18")


@pytest.mark.parametrize("name", ["coco17", "h36m17", "smpl24"])
def test_every_human_set_maps_from_the_superset_by_weights_that_sum_to_one(name: str) -> None:
    weights = joint_map(load_skeleton("human"), load_skeleton(name))
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_maps_between_derived_sets_leave_out_what_cannot_be_known() -> None:
    h36m, coco = load_skeleton("h36m17"), load_skeleton("coco17")
    weights = joint_map(h36m, coco)
    unknown = {coco.joints[k] for k in np.flatnonzero(np.isnan(weights).any(axis=1))}
    assert unknown == {"left_eye", "right_eye", "left_ear", "right_ear"}
    assert weights[coco.index("left_wrist"), h36m.index("left_wrist")] == 1


def test_no_human_joint_maps_to_an_animal() -> None:
    assert np.isnan(joint_map(load_skeleton("human"), load_skeleton("ap10k17"))).all()


def test_h36m_has_its_trunk_at_the_heights_of_the_dataset_and_its_rotations_from_the_spine() -> None:
    human, h36m = load_skeleton("human"), load_skeleton("h36m17")
    above_pelvis_m = (h36m.rest_m - h36m.rest_m[h36m.index("pelvis")])[:, 2]
    legs = human.rest_m[[human.index("left_hip"), human.index("left_knee"), human.index("left_ankle")]]
    leg_m = np.linalg.norm(np.diff(legs, axis=0), axis=1).sum()
    assert leg_m == pytest.approx(0.443 + 0.454, abs=0.02)  # the skeleton that Human3.6M's poses are given for
    assert above_pelvis_m[h36m.index("spine")] == pytest.approx(0.233, abs=0.02)
    assert above_pelvis_m[h36m.index("thorax")] == pytest.approx(0.490, abs=0.02)
    assert rotation_map(human, h36m)[h36m.index("thorax")] == human.index("spine3")
    with pytest.raises(ValueError, match="come from human"):
        rotation_map(load_skeleton("quadruped"), h36m)


@pytest.mark.parametrize("name", ALL)
def test_the_rest_pose_stands_on_the_ground_with_left_at_positive_x(name: str) -> None:
    skeleton = load_skeleton(name)
    left = [j for j in range(skeleton.num_joints) if skeleton.side(j) == "left"]
    mirrored = skeleton.rest_m[list(skeleton.swap)] * [-1, 1, 1]
    assert (skeleton.rest_m[left, 0] > 0).all()
    np.testing.assert_allclose(mirrored, skeleton.rest_m, atol=0.03)
    assert -0.01 <= skeleton.rest_m[:, 2].min() < 0.15


def test_to_dict_holds_what_dataset_json_promises() -> None:
    content = load_skeleton("human").to_dict()
    assert {"joints", "parents", "swap", "edges", "groups", "maps"} <= content.keys()
    assert set(content["maps"]) == {"coco17", "h36m17", "smpl24"}
    assert len(content["groups"]["5"]) == len(content["edges"])
