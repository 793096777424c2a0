"""Calibration files: both forms give the same cameras; lenses are undone; what is wrong is one line."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.calibration import (
    CalibratedCamera,
    Straightener,
    rays_apart_m,
    read_calibration,
    triangulate,
)
from posecore.camera import look_at, project
from posecore.errors import UserError
from posecore.transforms import rotvec_from_matrix
from tests.calibrations import DISTORTION, K_CENTRES, as_toml, calibrated, qualisys

RING = [look_at(np.array([4 * math.cos(a), 4 * math.sin(a), 1.5]), np.array([0, 0, 1.0])) for a in (0.2, 1.4, 2.9)]


def test_toml_and_qualisys_describe_the_same_cameras(tmp_path):
    (tmp_path / "c.toml").write_text(as_toml(RING))
    (tmp_path / "c.qca.txt").write_text(qualisys(RING))
    ours, theirs = read_calibration(tmp_path / "c.toml"), read_calibration(tmp_path / "c.qca.txt")
    assert list(ours) == list(theirs) == ["cam0", "cam1", "cam2"]
    for number, name in enumerate(ours):
        for camera in (ours[name], theirs[name]):
            assert (camera.width, camera.height) == (640, 480)
            np.testing.assert_allclose(camera.cam_from_world, RING[number], atol=1e-9)
            np.testing.assert_allclose(camera.K[:2, 2], K_CENTRES[:2, 2] + 0.5)
            np.testing.assert_allclose(camera.distortion[:4], DISTORTION)


def test_translations_in_millimetres_need_to_be_said(tmp_path):
    (tmp_path / "c.toml").write_text(as_toml(RING, 1000.0))
    with pytest.raises(UserError, match=r"m apart.*--calibration-unit mm"):
        read_calibration(tmp_path / "c.toml")
    camera = read_calibration(tmp_path / "c.toml", "mm")["cam1"]
    np.testing.assert_allclose(camera.cam_from_world, RING[1], atol=1e-9)


def test_pixels_go_through_the_lens_and_back(tmp_path):
    camera = calibrated(RING)["cam0"]
    pixels = np.random.default_rng(0).uniform([0, 0], [640, 480], (40, 2))
    np.testing.assert_allclose(camera.undistorted_px(camera.distorted_px(pixels)), pixels, atol=0.02)
    assert np.abs(camera.distorted_px(pixels) - pixels).max() > 2


def test_a_straightened_picture_shows_points_where_the_pinhole_camera_sees_them():
    """A white dot, drawn where the lens shows it in a picture that was shrunk by 2.5."""
    camera, place = calibrated(RING)["cam0"], np.array([[90.0, 60.0]])
    shrunk = np.zeros((192, 256, 3), np.uint8)
    shown = camera.distorted_px(place)[0] / 2.5
    cv2.circle(shrunk, tuple(np.round(16 * (shown - 0.5)).astype(int).tolist()), 3 * 16, (255,) * 3, -1, cv2.LINE_AA, 4)
    straight = Straightener(camera, 2.5, (256, 192))(shrunk)[..., 0].astype(float)
    rows, columns = np.mgrid[:192, :256] + 0.5
    found = np.array([(straight * columns).sum(), (straight * rows).sum()]) / straight.sum()
    np.testing.assert_allclose(2.5 * found, place[0], atol=0.3)


def test_a_video_may_be_shrunk_or_lack_padding_but_not_be_another():
    camera = calibrated(RING)["cam0"]
    assert np.array_equal(camera.fitted(632, 480).K, camera.K)
    np.testing.assert_allclose(camera.fitted(320, 240).K[:2], camera.K[:2] / 2)
    with pytest.raises(UserError, match="640 x 480 px, its picture is 480 x 640; is it turned"):
        camera.fitted(480, 640)


def test_points_are_found_again_from_where_cameras_see_them():
    cameras = [camera.pinhole for camera in calibrated(RING).values()]
    point = np.array([0.3, -0.2, 1.1])
    pixels = np.stack([project(camera, point) for camera in cameras])
    np.testing.assert_allclose(triangulate(cameras, pixels, np.ones(3)), point, atol=1e-9)
    assert rays_apart_m(cameras[0], pixels[0], cameras[1], pixels[1]) < 1e-9
    above = project(cameras[1], point + np.array([0, 0, 0.7]))
    assert 0.5 < rays_apart_m(cameras[0], pixels[0], cameras[1], above) < 0.75
    behind = CalibratedCamera(
        "b", 640, 480, cameras[0].K, np.zeros(4), look_at(np.array([4.0, 9, 1]), np.array([4.0, 20, 1]))
    )
    assert rays_apart_m(cameras[0], pixels[0], behind.pinhole, behind.K[:2, 2]) == math.inf


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "0 cameras"),
        ("not = [toml", "cannot be read as a calibration"),
        ("<calibration><cameras><camera serial='a'/></cameras></calibration>", "cannot be read as a calibration"),
        (qualisys(RING).replace('viewrotation="0"', 'viewrotation="90"', 1), "viewrotation 90"),
        (as_toml(RING).replace("rotation = [", "rotation = [1.0, "), "rotation must be 3 numbers"),
        (as_toml(RING).replace("matrix", "matrices").replace("metadata", "cam_9") + "matrix = 3\n", "no 'name'"),
        (as_toml(RING).replace('name = "cam1"', 'name = "cam1"\nfisheye = true'), "cam1 has a fisheye lens"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, words):
    path = tmp_path / "c.txt"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_calibration(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_line():
    with pytest.raises(UserError, match=r"nowhere\.toml: cannot be read"):
        read_calibration(Path("nowhere.toml"))


def test_rotation_vectors_are_opencvs():
    rotation, _ = cv2.Rodrigues(rotvec_from_matrix(RING[0][:3, :3]))
    np.testing.assert_allclose(rotation, RING[0][:3, :3], atol=1e-9)
