import numpy as np
import pytest

from posecore.transforms import global_from_local
from synthgen.subjects.people.free_pose import FreePose, joint_rotation, overlay, support
from synthgen.subjects.people.mocap import DRIVER_PARENTS, DRIVERS, figure_joints, limit_joints
from synthgen.subjects.people.pose_families import ARMS, POSTURES

DOWN = np.array([0.0, 0.0, -1.0])


def standing():
    return np.tile(np.eye(3), (len(DRIVERS), 1, 1))


def drawn(posture, rng):
    """Local rotations and support of a posture, its angles uniform within the family's ranges."""
    angles = {}
    family = POSTURES[posture]
    for driver in DRIVERS:
        name = driver if driver in family.angles else driver.removeprefix("left_").removeprefix("right_")
        if name in family.angles:
            low, high = np.array(family.angles[name]).T
            angles[driver] = tuple(rng.uniform(low, high).tolist())
    return limit_joints(overlay(standing(), FreePose(posture, "hang", "hang", family.support, angles))), family.support


@pytest.mark.parametrize(
    ("angles_deg", "left_points"),
    [((0, 0, 0), (0, 0, -1)), ((90, 0, 40), (0, -1, 0)), ((90, 90, 0), (1, 0, 0)), ((180, 90, 0), (0, 0, 1))],
)
def test_a_limb_points_where_raise_and_azimuth_say_on_both_sides(angles_deg, left_points):
    for joint in ("hip", "shoulder"):
        assert joint_rotation(f"left_{joint}", angles_deg) @ DOWN == pytest.approx(left_points, abs=1e-9)
        mirrored = np.array(left_points) * [-1, 1, 1]
        assert joint_rotation(f"right_{joint}", angles_deg) @ DOWN == pytest.approx(mirrored, abs=1e-9)


def test_a_positive_twist_turns_the_toes_outwards_and_flexion_bends_the_right_way():
    ahead = np.array([0.0, -1.0, 0.0])
    assert (joint_rotation("left_hip", (0, 0, 30)) @ ahead)[0] == pytest.approx(0.5)
    assert (joint_rotation("right_hip", (0, 0, 30)) @ ahead)[0] == pytest.approx(-0.5)
    assert joint_rotation("left_knee", (90,)) @ DOWN == pytest.approx([0, 1, 0], abs=1e-9)
    assert joint_rotation("right_elbow", (90,)) @ DOWN == pytest.approx([0, -1, 0], abs=1e-9)


def test_wrong_joints_and_numbers_of_angles_are_named():
    with pytest.raises(ValueError, match="no joint 'left_nee'"):
        joint_rotation("left_nee", (0,))
    with pytest.raises(ValueError, match=r"left_knee has 1 angle\(s\), got 3"):
        joint_rotation("left_knee", (0, 0, 0))


def test_what_a_free_pose_leaves_out_stays_the_clips():
    clip = standing()
    clip[DRIVERS.index("neck")] = joint_rotation("neck", (10, 0, 30))
    free = FreePose("clip", "bent", "bent", "clip", {"left_elbow": (80,)})
    result = overlay(clip, free)
    assert result[DRIVERS.index("neck")] == pytest.approx(clip[DRIVERS.index("neck")])
    assert result[DRIVERS.index("left_elbow")] == pytest.approx(joint_rotation("left_elbow", (80,)))


@pytest.mark.parametrize("posture", [name for name, family in POSTURES.items() if family.support == "feet"])
def test_who_stands_has_both_soles_flat_equally_low_and_the_mass_above_them(posture):
    rng = np.random.default_rng(0)
    for _ in range(40):
        pose = support(*drawn(posture, rng))
        joints = figure_joints(pose)
        ankles = [DRIVERS.index(f"{side}_ankle") for side in ("left", "right")]
        assert pose[ankles] @ -DOWN == pytest.approx(np.array([-DOWN, -DOWN]), abs=1e-6)
        assert abs(joints[ankles[0], 2] - joints[ankles[1], 2]) < 0.005
        middle = joints[ankles].mean(axis=0)
        upper_body = joints[[DRIVERS.index("root"), DRIVERS.index("chest")]].mean(axis=0)
        assert np.linalg.norm((upper_body - middle)[:2]) < 0.45 * (upper_body - middle)[2]


def test_who_kneels_has_the_shins_on_the_ground():
    rng = np.random.default_rng(1)
    for _ in range(40):
        pose = support(*drawn("half_kneel", rng))
        assert (pose[DRIVERS.index("right_knee")] @ DOWN)[2] == pytest.approx(0, abs=1e-6)
        assert pose[DRIVERS.index("left_ankle")] @ -DOWN == pytest.approx(-DOWN, abs=1e-6)
        joints = figure_joints(support(*drawn("kneel", rng)))
        knees, ankles = (
            joints[[DRIVERS.index(f"{side}_{joint}") for side in ("left", "right")]] for joint in ("knee", "ankle")
        )
        assert knees[:, 2] == pytest.approx(ankles[:, 2], abs=1e-6)


def test_who_sits_has_seat_and_legs_equally_low():
    rng = np.random.default_rng(2)
    for posture in ("sit", "sit_crossed", "sit_knees_up"):
        for _ in range(20):
            pose = support(*drawn(posture, rng))
            joints = figure_joints(pose)
            for side in ("left", "right"):
                ankle = DRIVERS.index(f"{side}_ankle")
                sole = [joints[ankle] + pose[ankle] @ point for point in ((0, 0.04, -0.05), (0, -0.13, -0.04))]
                lowest = min(joints[DRIVERS.index(f"{side}_knee"), 2], *(point[2] for point in sole))
                assert lowest == pytest.approx(-0.11, abs=0.005)


def test_every_family_gives_every_joint_its_number_of_angles():
    for posture in POSTURES.values():
        assert len(global_from_local(overlay(standing(), middle_of(posture.angles)), DRIVER_PARENTS)) == len(DRIVERS)
    for arms in ARMS.values():
        overlay(standing(), middle_of(arms.angles))


def middle_of(angles):
    by_driver = {}
    for driver in DRIVERS:
        name = driver if driver in angles else driver.removeprefix("left_").removeprefix("right_")
        if name in angles:
            by_driver[driver] = tuple(np.mean(angles[name], axis=1).tolist())
    return FreePose("any", "any", "any", "ground", by_driver)
