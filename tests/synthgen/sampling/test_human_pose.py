from dataclasses import replace

import numpy as np
import pytest

from synthgen.randomness import Draws
from synthgen.recipe import load_recipe
from synthgen.sampling.human_pose import sample_human_pose
from synthgen.subjects.people.pose import strike
from synthgen.subjects.people.pose_families import POSTURES


def poses(library, *overrides, count=200, moves=False):
    recipe = load_recipe("humans_dr", tuple(f"subject.pose.{override}" for override in overrides)).subject.pose
    durations = library.clip_durations_s
    return [sample_human_pose(recipe, durations, 0.0, moves, Draws(1, scene)) for scene in range(count)]


def test_knobs_say_how_often_poses_are_free_blended_and_mixed(library):
    drawn = poses(library, "free=0.4", "blended=0.25", "mixed_lower_body=0.1", count=1000)
    assert np.mean([pose.free is not None for pose in drawn]) == pytest.approx(0.4, abs=0.05)
    assert np.mean([pose.blend_clip is not None for pose in drawn]) == pytest.approx(0.25, abs=0.05)
    assert np.mean([pose.lower_clip is not None for pose in drawn]) == pytest.approx(0.1, abs=0.03)


def test_more_free_poses_change_nothing_else(library):
    few, many = poses(library, "free=0"), poses(library, "free=1")
    assert [pose.left_hand for pose in few] == [pose.left_hand for pose in many]
    assert [(pose.clip, pose.time_s, pose.jitter) for pose in few] == [
        (pose.clip, pose.time_s, pose.jitter) for pose in many
    ]


def test_every_family_is_drawn_within_its_ranges(library):
    drawn = [pose.free for pose in poses(library, "free=1", count=600)]
    assert {free.posture for free in drawn} == {*POSTURES, "clip"}
    for free in drawn:
        for driver, angles in free.angles_deg.items():
            if free.posture == "clip" or driver.endswith(("shoulder", "elbow", "wrist")):
                continue
            ranges = POSTURES[free.posture].angles
            low, high = np.array(ranges.get(driver) or ranges[driver.partition("_")[2] or driver]).T
            assert np.all(low <= np.array(angles)) and np.all(np.array(angles) <= high), (free.posture, driver)


def test_clip_families_leave_legs_or_arms_to_the_clip(library):
    (legs,) = {
        tuple(pose.free.angles_deg) for pose in poses(library, "free=1", "postures=stand", "arms=clip", count=20)
    }
    assert not [driver for driver in legs if driver.endswith(("shoulder", "elbow", "wrist"))]
    (arms,) = {tuple(pose.free.angles_deg) for pose in poses(library, "free=1", "postures=clip", "arms=bent", count=20)}
    assert {driver.partition("_")[2] for driver in arms} == {"shoulder", "elbow", "wrist"}


def test_one_sided_lets_the_right_arm_do_something_else(library):
    same = poses(library, "free=1", "one_sided=0")
    assert all(pose.free.left_arm == pose.free.right_arm for pose in same)
    assert any(pose.free.left_arm != pose.free.right_arm for pose in poses(library, "free=1", "one_sided=1"))


def test_a_moving_free_pose_moves_slowly_and_comes_back(library):
    assert all(pose.towards is None for pose in poses(library, "free=1", count=20))
    for pose in poses(library, "free=1", "arms=bent", "postures=squat", count=4, moves=True):
        assert pose.towards.posture == pose.free.posture
        times = np.arange(0, 4.001, 0.1)
        frames = np.array([strike(library.clips, replace(pose, elapsed_s=float(time_s))).drivers for time_s in times])
        turns = np.arccos(np.clip((np.einsum("tdij,tdij->td", frames[:-1], frames[1:]) - 1) / 2, -1, 1))
        assert np.degrees(turns.max()) < 12
        assert frames[-1] == pytest.approx(frames[0], abs=0.02)
