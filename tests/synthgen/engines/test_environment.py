from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.camera import Camera, look_at
from synthgen.engines.environment import read_map, split_light

SIDES = np.concatenate([np.eye(3), -np.eye(3)]) + 0.01  # no camera looks straight up or down


def test_a_map_is_read_as_it_was_written(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(0.5, 1, (4, 8, 3)).astype(np.float32)
    cv2.imwrite(str(tmp_path / "map.hdr"), image[..., ::-1])
    np.testing.assert_allclose(read_map(tmp_path / "map.hdr"), image, rtol=0.01)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.hdr"
    path.write_text("nothing")
    with pytest.raises(ValueError, match=r"broken\.hdr"):
        read_map(path)


@pytest.mark.parametrize("side", SIDES.tolist())
def test_a_white_surface_under_an_even_sky_is_as_bright_as_the_sky(
    side: list[float], view_square: Callable[..., np.ndarray]
) -> None:
    sky = np.full((64, 128, 3), (0.5, 1.0, 2.0))
    np.testing.assert_allclose(view_square(sky, towards=side), np.full((64, 64, 3), (0.5, 1.0, 2.0)), rtol=0.01)
    assert np.abs(split_light(sky).key_irradiance).max() < 1e-6


@pytest.mark.parametrize(
    ("direction", "level"), [((0.01, 0, 1), 1), ((1, 0, 0), 2), ((0, 1, 0), 3), ((0, -1, 0), 0.1), ((-1, 0, 0), 0.1)]
)
def test_zenith_is_the_first_row_and_the_middle_column_lies_towards_x(
    direction: tuple[float, float, float], level: float, view_triangles: Callable
) -> None:
    sky = np.full((64, 128, 3), 0.1)
    sky[:8] = 1.0
    sky[28:36, 60:68] = 2.0
    sky[28:36, 28:36] = 3.0
    camera = Camera(4, 4, np.array([[200.0, 0, 2], [0, 200, 2], [0, 0, 1]]), look_at(np.zeros(3), np.array(direction)))
    behind = -np.array(direction) + np.eye(3)
    triangle, shaded = view_triangles(camera, behind.astype(np.float32), np.array([[0, 1, 2]]), sky)
    assert (triangle == -1).all() and (shaded.depth_m == 0).all()
    np.testing.assert_allclose(shaded.radiance, level, rtol=0.02)


def test_a_bright_spot_becomes_the_key_light_and_no_light_is_lost(view_square: Callable[..., np.ndarray]) -> None:
    image = np.full((64, 128, 3), 0.1, np.float32)
    image[14:18, 62:66] = 200.0
    light = split_light(image)
    elevation = np.rad2deg(np.arcsin(light.key_direction[2]))
    assert elevation == pytest.approx(45, abs=4) and light.key_direction[0] > 0.6 and abs(light.key_direction[1]) < 0.1
    solid_angle = 16 * (2 * np.pi / 128) * (np.pi / 64) * np.sin(np.deg2rad(45))
    assert light.key_irradiance[0] == pytest.approx(200 * solid_angle, rel=0.1)
    for side in SIDES:  # without the key light
        np.testing.assert_allclose(view_square(image, towards=side), 0.1, rtol=0.05)
