from pathlib import Path

import cv2
import numpy as np
import pytest

from synthgen.engines.environment import Environment, irradiance_on, load_environment, radiance_from

AXES = np.concatenate([np.eye(3), -np.eye(3)])


def saved(folder: Path, image: np.ndarray) -> Environment:
    path = folder / "map.hdr"
    cv2.imwrite(str(path), image[..., ::-1])
    return load_environment(path)


def test_an_even_sky_sheds_pi_times_its_radiance_on_every_side(tmp_path: Path) -> None:
    sky = saved(tmp_path, np.full((64, 128, 3), (0.5, 1.0, 2.0), np.float32))
    np.testing.assert_allclose(irradiance_on(sky, AXES), np.tile(np.pi * np.array([0.5, 1, 2]), (6, 1)), rtol=0.01)
    np.testing.assert_allclose(radiance_from(sky, 3 * AXES), np.tile([0.5, 1, 2], (6, 1)), rtol=0.01)
    assert np.abs(sky.key_irradiance).max() < 1e-6


def test_zenith_is_the_first_row_and_the_middle_column_lies_towards_x(tmp_path: Path) -> None:
    image = np.full((64, 128, 3), 0.1, np.float32)
    image[:8] = 1.0
    image[28:36, 60:68] = 2.0
    image[28:36, 28:36] = 3.0
    seen = radiance_from(saved(tmp_path, image), np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0], [0, -1, 0]]))[:, 0]
    np.testing.assert_allclose(seen, [1, 2, 3, 0.1], rtol=0.02)


def test_a_bright_spot_becomes_the_key_light_and_no_light_is_lost(tmp_path: Path) -> None:
    image = np.full((64, 128, 3), 0.1, np.float32)
    image[14:18, 62:66] = 200.0
    sky = saved(tmp_path, image)
    elevation = np.rad2deg(np.arcsin(sky.key_direction[2]))
    assert elevation == pytest.approx(45, abs=4) and sky.key_direction[0] > 0.6 and abs(sky.key_direction[1]) < 0.1
    solid_angle = 16 * (2 * np.pi / 128) * (np.pi / 64) * np.sin(np.deg2rad(45))
    assert sky.key_irradiance[0] == pytest.approx(200 * solid_angle, rel=0.1)
    np.testing.assert_allclose(irradiance_on(sky, AXES), 0.1 * np.pi, rtol=0.05)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.hdr"
    path.write_text("nothing")
    with pytest.raises(ValueError, match=r"broken\.hdr"):
        load_environment(path)
