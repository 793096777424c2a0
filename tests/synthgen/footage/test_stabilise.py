"""Stabilising: a still camera is left alone, a moving one is undone to the pixel, panning never grows the canvas
much."""

import cv2
import numpy as np
import pytest

from synthgen.footage.stabilise import camera_path, lay_on_canvas, reach_on_canvas, scale_path, steady_parts

WIDTH, HEIGHT = 320, 180


def wide_scene() -> np.ndarray:
    """A ground with structure everywhere, larger than a picture."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(60, 200, (30, 60, 3), dtype=np.uint8), (900, 450), interpolation=cv2.INTER_CUBIC)
    for x, y, side in rng.integers(0, [880, 430, 20], (150, 3)):
        cv2.rectangle(
            scene, (int(x), int(y)), (int(x + side + 3), int(y + side + 3)), rng.integers(0, 255, 3).tolist(), -1
        )
    return scene


def pan(steps_px: list[float], zoom_per_frame: float = 1.0, with_subject: bool = False) -> np.ndarray:
    """Pictures of the scene from a camera that shifts right by each step and zooms in steadily."""
    scene, pictures, left = wide_scene(), [], 100.0
    for number, step in enumerate(steps_px):
        left += step
        zoom = zoom_per_frame**number
        to_picture = np.array([[zoom, 0, -zoom * left], [0, zoom, -zoom * 100.0]])
        picture = cv2.warpAffine(scene, to_picture, (WIDTH, HEIGHT))
        if with_subject:
            cv2.rectangle(picture, (140, 60 + number % 7), (175, 140 + number % 7), (255, 0, 0), -1)
        pictures.append(picture)
    return np.stack(pictures)


def test_a_still_camera_has_no_path_even_with_a_moving_subject():
    assert camera_path(pan([0.0] * 20)) is None
    assert camera_path(pan([0.0] * 20, with_subject=True)) is None


def test_a_pan_is_measured_though_a_subject_stays_in_the_middle():
    path = camera_path(pan([0.0] + [2.5] * 19, with_subject=True))
    np.testing.assert_allclose(path[:, 0, 2], 2.5 * np.arange(20), atol=0.8)
    np.testing.assert_allclose(path[:, :, :2], np.repeat(np.eye(2)[None], 20, axis=0), atol=0.01)


def test_a_zoom_is_measured():
    path = camera_path(pan([0.0] * 20, zoom_per_frame=1.005))
    assert path[-1, 0, 0] == pytest.approx(1.005**-19, abs=0.005)


def test_blank_pictures_have_no_path_that_could_be_told():
    assert camera_path(np.full((10, HEIGHT, WIDTH, 3), 128, np.uint8)) is None


def test_on_the_canvas_the_ground_stands_still():
    pictures = pan([0.0] + [3.0] * 15)
    (part,) = steady_parts(camera_path(pictures), WIDTH, HEIGHT)
    laid = np.stack([lay_on_canvas(p, m, part.canvas) for p, m in zip(pictures, part.to_canvas, strict=True)])
    everywhere = np.all([reach_on_canvas((HEIGHT, WIDTH), m, part.canvas) for m in part.to_canvas], axis=0)
    assert part.canvas[0] == pytest.approx(WIDTH + 45, abs=4)
    assert everywhere.mean() > 0.6
    before = np.abs(pictures[-1].astype(float) - pictures[0]).mean()
    after = np.abs(laid[-1].astype(float) - laid[0])[everywhere].mean()
    assert after < 0.25 * before


def test_a_long_pan_is_cut_into_parts_with_small_canvases():
    path = np.repeat(np.eye(2, 3)[None], 100, axis=0)
    path[:, 0, 2] = 10.0 * np.arange(100)
    parts = steady_parts(path, WIDTH, HEIGHT)
    assert [part.first for part in parts[1:]] == [part.last for part in parts[:-1]]
    assert parts[0].first == 0
    assert parts[-1].last == 100
    assert all(part.canvas[0] <= 1.36 * WIDTH for part in parts)


def test_the_first_picture_of_a_part_lies_at_its_origin():
    path = np.repeat(np.eye(2, 3)[None], 5, axis=0)
    path[:, 0, 2] = [0, -20, -40, -60, -80]
    (part,) = steady_parts(path, WIDTH, HEIGHT)
    assert part.origin == (80, 0)
    np.testing.assert_allclose(part.to_canvas[0], [[1, 0, 80], [0, 1, 0]])


def test_a_path_scales_with_the_pictures():
    path = np.array([[[0.98, -0.05, 3.0], [0.05, 0.98, -2.0]]])
    large = scale_path(path, 3.0)
    # Continuous coordinates, measured from the corner, must agree: x_cv2 = x - 0.5.
    point = np.array([40.0, 25.0])
    small_landing = path[0, :, :2] @ (point - 0.5) + path[0, :, 2] + 0.5
    large_landing = large[0, :, :2] @ (3 * point - 0.5) + large[0, :, 2] + 0.5
    np.testing.assert_allclose(large_landing, 3 * small_landing, atol=1e-9)
