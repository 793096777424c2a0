import json

import numpy as np
import pytest

from posecore.transforms import global_from_local, local_from_global, matrix_from_rotvec, rotvec_from_matrix
from synthgen.subjects.people.mocap import (
    DRIVER_PARENTS,
    DRIVERS,
    align,
    clip_moment,
    interpolate,
    limit_joints,
    load_clips,
    mirror_pose,
    mix,
    turn_joints,
)


def rotation(x, y, z):
    return matrix_from_rotvec(np.array([x, y, z]))


def standing():
    return np.tile(np.eye(3), (len(DRIVERS), 1, 1))


def direction(local, driver):
    """Where the segment points that hangs straight down in the zero pose."""
    return global_from_local(local, DRIVER_PARENTS)[DRIVERS.index(driver)] @ np.array([0.0, 0.0, -1.0])


@pytest.fixture
def clip_folder(tmp_path):
    frame = [0.0333, 0, 0.9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, -0.5, 1, 0, 0, 0]
    frame += [1, 0, 0, 0, 0.4, 1, 0, 0, 0, -1.0, 1, 0, 0, 0, 1, 0, 0, 0, 0.8]
    bent = list(frame)
    bent[20] = -1.5
    (tmp_path / "humanoid3d_test.txt").write_text(json.dumps({"Loop": "none", "Frames": [frame, bent]}))
    return tmp_path


def test_knees_of_a_clip_bend_the_shank_backwards_and_elbows_the_forearm_forwards(clip_folder):
    pose = clip_moment(load_clips(clip_folder)["test"], 0).local
    assert direction(pose, "right_knee")[1] == pytest.approx(np.sin(0.5))
    assert direction(pose, "left_knee")[1] == pytest.approx(np.sin(1.0))
    assert direction(pose, "left_elbow")[1] == pytest.approx(-np.sin(0.8))
    assert direction(pose, "left_hip") == pytest.approx([0, 0, -1])


def test_a_moment_between_two_frames_lies_on_the_arc_between_them(clip_folder):
    clip = load_clips(clip_folder)["test"]
    middle = clip_moment(clip, clip.dt_s / 2).local
    assert direction(middle, "right_knee")[1] == pytest.approx(np.sin(1.0))
    with pytest.raises(ValueError, match=r"time_s=-1 of clip 'test' lies before its beginning"):
        clip_moment(clip, -1)


def test_a_folder_without_clips_is_named_in_the_error(tmp_path):
    with pytest.raises(ValueError, match="no humanoid3d_"):
        load_clips(tmp_path)


def test_mirroring_twice_gives_the_pose_back_and_once_moves_a_raised_left_arm_to_the_right():
    pose = turn_joints(standing(), {"left_shoulder": (0.2, -1.2, 0.1), "neck": (0.1, 0.2, 0.3)})
    mirrored = mirror_pose(pose)
    assert direction(pose, "left_shoulder")[0] > 0.8
    assert direction(mirrored, "right_shoulder") == pytest.approx(direction(pose, "left_shoulder") * [-1, 1, 1])
    assert mirror_pose(mirrored) == pytest.approx(pose)


def test_mix_takes_legs_from_one_pose_and_arms_from_another():
    kick = turn_joints(standing(), {"root": (0.0, 0.0, 0.5), "left_hip": (-1.0, 0.0, 0.0)})
    wave = turn_joints(standing(), {"right_elbow": (-1.5, 0.0, 0.0)})
    mixed = mix(kick, wave)
    assert direction(mixed, "left_hip") == pytest.approx(direction(kick, "left_hip"))
    assert direction(mixed, "right_elbow") == pytest.approx(rotation(0, 0, 0.5) @ direction(wave, "right_elbow"))


def test_knees_and_elbows_cannot_bend_backwards():
    wrong = {"left_knee": (-0.8, 0.0, 0.0), "right_elbow": (0.9, 0.0, 0.0), "right_knee": (0.5, 0.9, 0.0)}
    limited = limit_joints(turn_joints(standing(), wrong))
    assert direction(limited, "left_knee") == pytest.approx([0, 0, -1], abs=1e-6)
    assert direction(limited, "right_elbow") == pytest.approx([0, 0, -1], abs=1e-6)
    assert abs(direction(limited, "right_knee")[0]) < np.sin(0.21)


def test_limits_are_the_same_for_both_sides_and_leave_a_pose_within_them_alone():
    pose = turn_joints(standing(), {"left_hip": (-2.0, -2.0, 1.5), "left_ankle": (0.3, 0.9, 0.1), "chest": (2.0, 0, 0)})
    assert limit_joints(mirror_pose(pose)) == pytest.approx(mirror_pose(limit_joints(pose)), abs=1e-9)
    limited = limit_joints(pose)
    assert limit_joints(limited) == pytest.approx(limited, abs=1e-9)


def test_an_unknown_joint_is_refused_by_name():
    with pytest.raises(ValueError, match="no joint 'left_nee'"):
        turn_joints(standing(), {"left_nee": (0, 0, 0)})


def test_align_turns_one_direction_into_the_other_even_when_opposite():
    for end in ([0, 0, -1.0], [0, 0.6, 0.8], [0, 0, 1.0]):
        turn = align(np.array([0, 0, 2.0]), np.array(end))
        assert turn @ [0, 0, 1.0] == pytest.approx(end, abs=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1)


def test_interpolation_starts_and_ends_where_it_should():
    start, end = rotation(0.1, 0.2, 0.3), rotation(-1.0, 0.5, 0.2)
    assert interpolate(start, end, 0) == pytest.approx(start)
    assert interpolate(start, end, 1) == pytest.approx(end)


def turns_between(poses):
    return np.linalg.norm(rotvec_from_matrix(np.swapaxes(poses[:-1], -1, -2) @ poses[1:]), axis=-1).max()


def test_beyond_its_end_no_clip_jumps_further_than_within_itself(library):
    for clip in library.clips.values():
        beyond = [clip_moment(clip, time_s) for time_s in np.arange(0, 3 * clip.duration_s, clip.dt_s)]
        within = turns_between(local_from_global(clip.rotations, DRIVER_PARENTS))
        assert turns_between(np.array([moment.local for moment in beyond])) < 1.02 * within, clip.name
        steps = np.linalg.norm(np.diff([moment.travel_m for moment in beyond], axis=0), axis=1)
        own_steps = np.linalg.norm(np.diff(clip.root_m[:, :2], axis=0), axis=1)
        assert steps.max() < 1.02 * own_steps.max(), clip.name


def test_a_walk_goes_on_and_getting_up_goes_back_down(library):
    walk, getup = library.clips["walk"], library.clips["getup_faceup"]
    assert walk.loops and not getup.loops
    once, thrice = (clip_moment(walk, rounds * walk.duration_s).travel_m for rounds in (1, 3))
    assert thrice == pytest.approx(3 * once) and np.linalg.norm(once) > 1
    assert clip_moment(getup, 1.75 * getup.duration_s).local == pytest.approx(
        clip_moment(getup, 0.25 * getup.duration_s).local, abs=1e-6
    )


def test_only_jumps_and_flips_leave_the_ground(library):
    airborne = {name: float((clip.clearance_m > 0.02).mean()) for name, clip in library.clips.items()}
    for name in ("walk", "cartwheel", "crawl", "roll", "getup_faceup", "getup_facedown", "punch", "kick"):
        assert airborne[name] == 0, name
    for name in ("backflip", "jump", "run", "spin", "spinkick"):
        assert 0.1 < airborne[name] < 0.4, name
    assert library.clips["backflip"].clearance_m.max() > 0.6


def test_shoulders_reach_overhead_but_not_far_behind_and_turn_only_so_far():
    for side, outwards in (("left", 1), ("right", -1)):
        behind = limit_joints(turn_joints(standing(), {f"{side}_shoulder": (2.0, 0.0, 0.0)}))
        assert np.degrees(np.arccos(-direction(behind, f"{side}_shoulder")[2])) == pytest.approx(60, abs=1)
        overhead = turn_joints(standing(), {f"{side}_shoulder": (-2.9, 0.0, 0.0)})
        assert limit_joints(overhead) == pytest.approx(overhead)
        twisted = limit_joints(turn_joints(standing(), {f"{side}_shoulder": (0.0, 0.0, outwards * 2.5)}))
        ahead = twisted[DRIVERS.index(f"{side}_shoulder")] @ [0, -1, 0]
        assert np.arctan2(outwards * ahead[0], -ahead[1]) == pytest.approx(1.65)


def test_limits_leave_the_packaged_clips_nearly_as_they_are(library):
    turned_deg = []
    for clip in library.clips.values():
        for pose in clip.rotations[::10]:
            local = local_from_global(pose, DRIVER_PARENTS)
            turns = rotvec_from_matrix(np.swapaxes(local, -1, -2) @ limit_joints(local))
            turned_deg.append(np.degrees(np.linalg.norm(turns, axis=-1)))
    assert np.max(turned_deg) < 30
    assert np.mean(np.array(turned_deg) > 1) < 0.01
