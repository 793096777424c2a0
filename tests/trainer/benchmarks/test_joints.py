"""Which joint is whose: sides of the resulting skeleton, middles, twins, users' maps."""

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.benchmarks.joints import joint_table, judged_joints, mapped_table, read_joint_map
from trainer.benchmarks.registry import BENCHMARKS


@pytest.mark.parametrize("name", [name for name, b in BENCHMARKS.items() if b.joints is not None])
def test_a_model_of_everything_answers_every_joint_that_has_a_partner(name):
    table = BENCHMARKS[name].joints
    superset = load_skeleton(BENCHMARKS[name].superset)
    joints = judged_joints(table, superset, name)
    assert len(joints.names) == sum(map(bool, table.partners)) and not joints.unknown_to_model
    np.testing.assert_allclose(joints.weights.sum(1), 1)
    # Names tell sides alike on both sides of the map.
    swap = joints.skeleton.swap
    assert [swap[swap[j]] for j in range(len(swap))] == list(range(len(swap)))
    for theirs, ours in zip(joints.names, joints.skeleton.joints, strict=True):
        for side, other in (("left", "right"), ("right", "left")):
            if side in theirs.lower().replace("_", " ").split() and "collar" not in theirs:
                assert ours.startswith(side), (theirs, ours)
            assert not (other in theirs.lower().split() and ours.startswith(side))
    # At rest, what is called left lies on the left.
    lateral = joints.skeleton.rest_m[:, 0]
    for j in range(len(swap)):
        expected = {"left": 1, "right": -1, "centre": 0}[joints.skeleton.side(j)]
        assert np.sign(np.round(lateral[j], 6)) == expected, joints.skeleton.joints[j]


def test_twins_are_mirrored_as_twins():
    table = joint_table("human", {"a": "left_wrist", "b": "left_wrist", "c": "right_wrist", "d": "right_wrist"})
    skeleton = judged_joints(table, load_skeleton("human"), "twins").skeleton
    assert skeleton.swap == (2, 3, 0, 1)


def test_a_joint_whose_mirror_image_is_not_labelled_has_no_side():
    table = joint_table("quadruped", {"ear": "left_ear", "nose": "nose"})
    skeleton = judged_joints(table, load_skeleton("quadruped"), "one ear").skeleton
    assert skeleton.swap == (0, 1) and skeleton.side(0) == "centre"


def test_a_middle_is_the_mean_and_is_not_judged_where_one_end_is_unknown():
    table = joint_table("human", {"crown": ["head_top", "nose"], "chest": ["left_shoulder", "left_ear"]})
    joints = judged_joints(table, load_skeleton("h36m17"), "middles")
    h36m = load_skeleton("h36m17")
    assert joints.names == ("crown",) and joints.unknown_to_model == ("chest",)
    np.testing.assert_allclose(joints.weights[0, [h36m.index("head_top"), h36m.index("nose")]], 0.5)


def test_nothing_in_common_is_refused():
    table = joint_table("human", {"eye": "left_eye"})
    with pytest.raises(UserError, match="none of its joints"):
        judged_joints(table, load_skeleton("h36m17"), "eyes")


def test_a_users_map_is_yaml_of_names_lists_and_nulls(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("snout: nose\nmiddle: [neck, tail_root]\nimplant: null\n")
    given = read_joint_map(path)
    assert given == {"snout": ("nose",), "middle": ("neck", "tail_root"), "implant": ()}
    table = mapped_table(["snout", "middle", "implant", "left_eye"], "quadruped", given, "here")
    assert table.partners == (("nose",), ("neck", "tail_root"), (), ("left_eye",))


@pytest.mark.parametrize("text", ["- a\n- b\n", "snout: 3\n", "a: {b: c}\n", "a: [b\n", ""])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="their_name: our_joint"):
        read_joint_map(path)
