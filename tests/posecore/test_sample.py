from dataclasses import replace

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.sample import make_key, split_key, tight_box, validate
from tests.posecore.samples import make_sample


def with_subject(**changes: object):
    sample = make_sample()
    return replace(sample, subjects=(replace(sample.subjects[0], **changes),))


def test_a_sound_sample_has_no_problems() -> None:
    assert validate(make_sample()) == []


def test_keys_sort_by_scene_frame_and_view_and_have_no_dots() -> None:
    assert make_key(12, 3, 1) == "00000012-03-01"
    assert split_key("00000012-03-01") == (12, 3, 1)
    with pytest.raises(UserError, match="is not a sample key"):
        split_key("frame.0001")


def test_a_joint_moved_by_a_tenth_of_a_pixel_is_found() -> None:
    joints = make_sample().subjects[0].joints_px.copy()
    joints[5, 0] += 0.1
    assert any("project 0.100 px away" in problem for problem in validate(with_subject(joints_px=joints)))


def test_world_and_camera_joints_must_agree() -> None:
    joints = make_sample().subjects[0].joints_world_m + np.array([0, 0, 0.01])
    assert any("disagree by 0.0100 m" in problem for problem in validate(with_subject(joints_world_m=joints)))


def test_visibility_must_agree_with_the_frame() -> None:
    assert any("outside the frame" in p for p in validate(with_subject(visibility=np.zeros(43, np.uint8))))


def test_the_box_must_be_tight() -> None:
    assert any("not tight" in p for p in validate(with_subject(box_px=np.array([0.0, 0, 64, 64]))))


def test_nan_coordinates_are_found() -> None:
    joints = make_sample().subjects[0].joints_px.copy()
    joints[0] = np.nan
    assert any("not finite" in p for p in validate(with_subject(joints_px=joints)))


def test_ids_in_the_mask_must_be_subjects() -> None:
    sample = make_sample()
    mask = sample.mask.copy()
    mask[0, 0] = 7
    assert validate(replace(sample, mask=mask)) == ["mask has ids [7] that no subject bears"]


def test_a_mirrored_camera_is_not_rigid() -> None:
    sample = make_sample()
    mirrored = np.diag([-1.0, 1, 1, 1]) @ sample.camera.cam_from_world
    assert "cam_from_world is not a rigid transform" in validate(
        replace(sample, camera=replace(sample.camera, cam_from_world=mirrored))
    )


def test_a_tight_box_covers_whole_pixels() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:9] = True
    np.testing.assert_array_equal(tight_box(mask), [3, 2, 6, 3])
    np.testing.assert_array_equal(tight_box(np.zeros((4, 4), bool)), np.zeros(4))
