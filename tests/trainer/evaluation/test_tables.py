"""Breakdowns: rows with stable keys that hold the metrics of their part of the data."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.evaluation.metrics import Poses, evaluate_poses
from trainer.evaluation.tables import BREAKDOWNS, break_down, breakdown_names, breakdown_table

H36M = load_skeleton("h36m17")


@pytest.fixture(scope="module")
def poses() -> Poses:
    """Twenty subjects in ten scenes: dogs 3 px off, cats 6 px off; the left wrist 10 px further; two at each place."""
    rng = np.random.default_rng(0)
    num = 20
    true = rng.uniform(20, 80, (num, 17, 2))
    species = tuple("cat" if row % 2 else "dog" for row in range(num))
    error = np.array([6.0 if name == "cat" else 3.0 for name in species])[:, None] * np.ones((num, 17))
    error[:, H36M.index("left_wrist")] += 10
    visibility = np.full((num, 17), 3, np.uint8)
    visibility[:, 0], visibility[:, 1] = 0, 2
    confidence = np.full((num, 17), 0.95)
    confidence[:, H36M.index("left_wrist")] = 0.05
    azimuth = np.repeat([0.0, 31.0, -45.0, -90.0, 180.0, -180.0, np.nan, 20.0, 140.0, 100.0], 2)
    return Poses(
        joints_px=true + np.stack([error, np.zeros_like(error)], -1),
        confidence=confidence,
        true_joints_px=true,
        weight=(visibility > 0).astype(float),
        visible=visibility == 3,
        box_px=np.tile([10.0, 10.0, 80.0, 80.0], (num, 1)),
        image_size_px=100,
        joints_cam_m=rng.normal(size=(num, 17, 3)),
        true_joints_cam_m=rng.normal(size=(num, 17, 3)),
        groups=tuple(f"scene {row // 2}" for row in range(num)),
        visibility=visibility,
        species=species,
        azimuth_deg=azimuth,
        elevation_deg=np.linspace(-40, 90, num),
    )


@pytest.fixture(scope="module")
def rows(poses):
    return break_down(poses, H36M)


def test_every_breakdown_has_its_stable_keys(rows):
    assert rows.keys() == {f"by_{name}" for name in BREAKDOWNS}
    assert list(rows["by_species"]) == ["cat", "dog"]
    assert list(rows["by_joint"]) == [joint for joint in H36M.joints if joint != "pelvis"]
    assert list(rows["by_visibility"]) == ["0", "2", "3"]
    assert list(rows["by_azimuth"]) == ["0..30", "30..60", "90..120", "120..150", "150..180", "unknown"]
    assert list(rows["by_elevation"])[:2] == ["-90..-30", "-30..-15"]
    assert list(rows["by_confidence"]) == ["0..0.1", "0.9..1"]


def test_left_and_right_views_share_a_row_and_every_sample_is_in_one(rows, poses):
    assert rows["by_azimuth"]["30..60"]["num_samples"] == 4
    assert rows["by_azimuth"]["150..180"]["num_samples"] == 4
    for name in ("species", "azimuth", "elevation"):
        assert sum(row["num_samples"] for row in rows[f"by_{name}"].values()) == len(poses)


@pytest.mark.parametrize("species", ["cat", "dog"])
def test_a_row_of_subjects_says_what_evaluating_them_alone_says(rows, poses, species):
    row = rows["by_species"][species]
    alone = evaluate_poses(poses.take(np.flatnonzero(np.array(poses.species) == species)), H36M)
    for name, metric in alone.items():
        if isinstance(metric, dict):
            assert row[name]["value"] == pytest.approx(metric["value"]), name
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]


def test_a_joint_s_row_holds_its_own_error(rows):
    assert rows["by_joint"]["left_wrist"]["error_pct"]["value"] == pytest.approx(14.5)
    assert rows["by_joint"]["left_knee"]["error_pct"]["value"] == pytest.approx(4.5)
    assert rows["by_joint"]["left_knee"]["num_joints"] == 20
    assert rows["by_joint"]["nose"]["flip_rate"] is None
    assert rows["by_confidence"]["0..0.1"]["error_pct"]["value"] == pytest.approx(14.5)


def test_joints_outside_the_frame_are_judged_by_visibility_only(rows):
    assert rows["by_visibility"]["0"]["error_pct"]["value"] == pytest.approx(4.5)
    assert rows["by_visibility"]["0"]["pck_010"]["value"] == 1
    assert "pelvis" not in rows["by_joint"]


def test_a_joint_at_its_mirror_s_place_is_flipped_and_no_other_is(poses):
    left, right = H36M.index("left_knee"), H36M.index("right_knee")
    true = poses.true_joints_px.copy()
    true[:, left], true[:, right] = [20.0, 50.0], [70.0, 50.0]
    joints = true.copy()
    joints[:, [left, right]] = true[:, [right, left]]
    by_joint = break_down(replace(poses, joints_px=joints, true_joints_px=true), H36M)["by_joint"]
    flipped = {joint for joint, row in by_joint.items() if (row["flip_rate"] or {"value": 0})["value"] > 0}
    assert flipped == {"left_knee", "right_knee"}


def test_what_the_data_do_not_tell_has_no_breakdown(poses):
    plain = replace(poses, species=None, azimuth_deg=None, elevation_deg=None, visibility=None)
    assert break_down(plain, H36M).keys() == {"by_joint", "by_confidence"}


def test_names_of_tables_are_checked():
    assert breakdown_names("species, joint") == ["species", "joint"]
    assert breakdown_names("all") == list(BREAKDOWNS)
    assert breakdown_names("none") == []
    with pytest.raises(UserError, match="--by colour: no such table; choose some of species, azimuth"):
        breakdown_names("species,colour")


def test_a_table_shows_words_and_numbers_and_one_row_needs_none(rows, poses):
    console = Console(width=120, record=True)
    with console.capture() as capture:
        console.print(breakdown_table(rows, "visibility"))
        console.print(breakdown_table(rows, "joint"))
    shown = capture.get()
    assert "outside the frame" in shown
    assert "left wrist" in shown and "14.5" in shown
    alike = break_down(replace(poses, species=("human",) * 20), H36M)
    assert breakdown_table(alike, "species") is None
    assert breakdown_table({}, "species") is None
