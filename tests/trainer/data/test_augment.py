"""Augmentation: geometry stays exact in 3D, mirroring is an involution, pixels and labels move together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posecore.camera import project_cam
from posecore.sample import HIDDEN_BY_OTHER, OUTSIDE, VISIBLE
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec
from trainer.data.augment import (
    Labels,
    Photometric,
    Warp,
    apply_photometric,
    centre_warp,
    clean_plate,
    draw_photometric,
    hide_cut_out_joints,
    jitter,
    masked_copy,
    swap_background,
    warp_image,
    warp_labels,
)
from trainer.data.config import CropConfig, PhotometricConfig

H36M = load_skeleton("h36m17")


def posed_labels(seed: int) -> Labels:
    """The template in a random pose by forward kinematics, in front of a camera with an off-centre principal
    point."""
    rng = np.random.default_rng(seed)
    rotations = matrix_from_rotvec(rng.normal(0, 0.5, (H36M.num_joints, 3)))
    joints = np.zeros((H36M.num_joints, 3))
    for joint in H36M.walk_order:
        parent = H36M.parents[joint]
        if parent < 0:
            joints[joint] = [0.1, -0.2, 4.0]
        else:
            joints[joint] = joints[parent] + rotations[parent] @ (H36M.rest_m[joint] - H36M.rest_m[parent])
    camera_K = np.array([[150.0, 0, 70], [0, 150.0, 60], [0, 0, 1]])
    joints_px = project_cam(camera_K, joints)
    low, high = joints_px.min(axis=0), joints_px.max(axis=0)
    visibility = np.full(H36M.num_joints, VISIBLE, dtype=np.uint8)
    return Labels(joints_px, visibility, joints, rotations, camera_K, np.concatenate([low, high - low]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_after_any_warp_the_intrinsics_project_the_3d_joints_onto_the_2d_joints(seed):
    labels = posed_labels(seed % 50)
    crop = CropConfig(scale=(0.4, 2.5), shift=0.5, roll_deg=90, roll_probability=0.8)
    warp = jitter(centre_warp(labels.box_px, 128, 128, crop, 96), crop, np.random.default_rng(seed))
    warped = warp_labels(labels, warp, H36M)
    assert np.abs(project_cam(warped.camera_K, warped.joints_cam) - warped.joints_px).max() < 1e-3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_after_any_warp_rotations_and_rest_offsets_still_give_the_joints(seed):
    """Forward kinematics in the camera frame with the template's offsets: holds only if rotations turn and mirror
    rightly."""
    labels = posed_labels(seed % 50)
    crop = CropConfig(roll_deg=60)
    warp = jitter(centre_warp(labels.box_px, 128, 128, crop, 96), crop, np.random.default_rng(seed))
    warped = warp_labels(labels, warp, H36M)
    for joint, parent in enumerate(H36M.parents):
        if parent >= 0:
            offset = H36M.rest_m[joint] - H36M.rest_m[parent]
            expected = warped.joints_cam[parent] + warped.rotations_cam[parent] @ offset
            np.testing.assert_allclose(warped.joints_cam[joint], expected, atol=1e-9)
    assert np.allclose(np.linalg.det(warped.rotations_cam), 1)


def test_mirroring_twice_is_the_identity():
    labels = posed_labels(3)
    mirror = Warp((64, 64), 128, 128, flip=True)
    twice = warp_labels(warp_labels(labels, mirror, H36M), mirror, H36M)
    for name in ("joints_px", "visibility", "joints_cam", "rotations_cam", "camera_K", "box_px"):
        np.testing.assert_allclose(getattr(twice, name), getattr(labels, name), atol=1e-9)
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp_image(warp_image(image, mirror), mirror), image)
    np.testing.assert_array_equal(warp_image(image, mirror), image[:, ::-1])


def test_mirroring_swaps_left_and_right_joints_and_their_visibility():
    labels = posed_labels(4)
    left, right = H36M.index("left_wrist"), H36M.index("right_wrist")
    visibility = labels.visibility.copy()
    visibility[left] = HIDDEN_BY_OTHER
    mirrored = warp_labels(replace(labels, visibility=visibility), Warp((64, 64), 128, 128, flip=True), H36M)
    np.testing.assert_allclose(mirrored.joints_px[right], [128 - labels.joints_px[left, 0], labels.joints_px[left, 1]])
    assert mirrored.visibility[right] == HIDDEN_BY_OTHER
    assert mirrored.visibility[left] == VISIBLE


def test_mirroring_shows_the_other_side_to_the_camera():
    labels = replace(posed_labels(5), azimuth_deg=70.0, elevation_deg=10.0, species="dog")
    mirrored = warp_labels(labels, Warp((64, 64), 128, 128, flip=True), H36M)
    turned = warp_labels(labels, Warp((64, 64), 128, 128, roll_rad=0.3), H36M)
    assert (mirrored.azimuth_deg, mirrored.elevation_deg, mirrored.species) == (-70.0, 10.0, "dog")
    assert turned.azimuth_deg == 70.0


@pytest.mark.parametrize("side", [24.0, 64.0, 300.0])
@pytest.mark.parametrize("flip", [False, True])
def test_a_dot_in_the_image_lands_where_the_labels_say(side, flip):
    image = np.zeros((128, 128, 3), np.uint8)
    image[48:56, 72:80] = 255
    warp = Warp((74, 54), side, 96, roll_rad=0.3, flip=flip)
    warped = warp_image(image, warp).astype(np.float64)[..., 0]
    rows, columns = np.mgrid[:96, :96] + 0.5
    found = np.array([(columns * warped).sum(), (rows * warped).sum()]) / warped.sum()
    expected = warp.matrix @ [76, 52, 1]
    np.testing.assert_allclose(found, expected, atol=0.15)


def test_strong_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = warp_image(stripes, Warp((128, 128), 256, 40))
    assert shrunk.min() > 100
    assert shrunk.max() < 156


def test_joints_that_leave_the_crop_or_were_outside_before_have_visibility_zero():
    labels = posed_labels(5)
    inside_before = labels.visibility.copy()
    inside_before[0] = OUTSIDE
    warped = warp_labels(replace(labels, visibility=inside_before), Warp((64, 64), 1000, 64), H36M)
    assert warped.visibility[0] == OUTSIDE
    assert (warped.visibility[1:] == VISIBLE).all()
    far = warp_labels(labels, Warp((1000, 1000), 10, 64), H36M)
    assert (far.visibility == OUTSIDE).all()


def test_pixels_that_are_not_square_are_refused():
    labels = posed_labels(6)
    stretched = labels.camera_K.copy()
    stretched[1, 1] *= 1.1
    with pytest.raises(ValueError, match="square pixels"):
        warp_labels(replace(labels, camera_K=stretched), Warp((64, 64), 64, 64), H36M)


def test_neutral_photometric_settings_leave_the_image_alone():
    neutral = PhotometricConfig(
        brightness=0,
        contrast=0,
        saturation=0,
        white_balance=0,
        grayscale_probability=0,
        blur_probability=0,
        noise_probability=0,
        cutout_probability=0,
    )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    result = apply_photometric(image, draw_photometric(neutral, 32, rng), rng)
    np.testing.assert_array_equal(result, image)


def test_photometric_changes_stay_in_range_and_follow_from_the_generator():
    config = PhotometricConfig(blur_probability=1, noise_probability=1, cutout_probability=1)
    image = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    results = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        results.append(apply_photometric(image, draw_photometric(config, 48, rng), rng))
    np.testing.assert_array_equal(*results)
    assert results[0].dtype == np.uint8


def test_joints_under_the_cutout_count_as_hidden():
    labels = warp_labels(posed_labels(8), Warp((64, 64), 128, 128), H36M)
    change = draw_photometric(PhotometricConfig(cutout_probability=1), 128, np.random.default_rng(0))
    covering = replace(change, cutout=(np.array([0, 0, 128, 128]), np.zeros(3)))
    hidden = hide_cut_out_joints(labels, covering)
    np.testing.assert_array_equal(hidden.visibility == HIDDEN_BY_OTHER, labels.visibility != OUTSIDE)


def test_swapping_the_background_keeps_the_subject_and_replaces_the_rest():
    image, background = np.full((32, 32, 3), 200, np.uint8), np.full((32, 32, 3), 10, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    swapped = swap_background(image, mask, background)
    assert (swapped[12:20, 12:20] == 200).all()
    assert (swapped[~mask] <= 11).all()


def test_a_clean_plate_continues_the_surroundings_through_the_hole():
    ramp = np.repeat(np.linspace(20, 220, 64)[None], 64, axis=0)
    image = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[20:44, 20:44] = True
    plate = clean_plate(np.where(mask[..., None], 0, image).astype(np.uint8), mask)
    assert np.abs(plate.astype(float) - image)[mask].max() < 40
    far = np.ones((64, 64), bool)
    far[16:48, 16:48] = False
    np.testing.assert_array_equal(plate[far], image[far])


def test_a_masked_copy_blanks_the_asked_share_of_patches():
    image = np.full((64, 64, 3), 250, np.uint8)
    copy = masked_copy(image, 0.75, np.random.default_rng(0))
    assert (copy == 128).all(axis=-1).mean() == pytest.approx(0.75)


def test_colours_change_by_gain_contrast_and_saturation_in_that_order():
    change = Photometric(np.array([0.9, 1.0, 1.1]), 0.8, 0.5, 0.0, 0.0, None)
    image = np.random.default_rng(2).integers(40, 200, (8, 8, 3), dtype=np.uint8)
    gained = image / 255 * change.gain
    contrasted = (gained - gained.mean()) * 0.8 + gained.mean()
    grey = (contrasted @ [0.299, 0.587, 0.114])[..., None]
    expected = grey + 0.5 * (contrasted - grey)
    found = apply_photometric(image, change, np.random.default_rng(0))
    np.testing.assert_allclose(found, 255 * expected.clip(0, 1), atol=1)


def test_noise_is_gaussian_of_the_asked_strength_and_follows_from_the_generator():
    change = Photometric(np.ones(3), 1.0, 1.0, 0.0, 0.03, None)
    image = np.full((128, 128, 3), 128, np.uint8)
    noisy, again = (apply_photometric(image, change, np.random.default_rng(5)) for _ in range(2))
    difference = noisy.astype(float) - 128
    assert difference.mean() == pytest.approx(0, abs=0.1)
    assert difference.std() == pytest.approx(0.03 * 255, rel=0.02)
    assert (abs(difference) > 2 * 0.03 * 255).mean() == pytest.approx(0.0455, abs=0.01)
    np.testing.assert_array_equal(noisy, again)
