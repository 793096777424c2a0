"""Patterns, as the shader paints them on a square that an even sky lights."""

import typing
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from synthgen.engines.patterns import linear_colour
from synthgen.scene import Material

BLACK_AND_WHITE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SLANTED = np.array([[-1.0, -1, 1], [1, -1, -0.5], [1, 1, -1], [-1, 1, 0.5]], dtype=np.float32)
UPRIGHT = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32)  # x to the right, y down

Paint = Callable[..., np.ndarray]


@pytest.fixture
def paint(view_square: Callable[..., np.ndarray]) -> Paint:
    """Colours [64, 64, 3] of a material over a square of places."""
    sky = np.ones((32, 64, 3))
    return lambda material, places, footprint_m=1e-4: view_square(sky, material, places=places, footprint_m=footprint_m)


def material(pattern: str, repeats_per_m: float = 4.0) -> Material:
    return Material(pattern, BLACK_AND_WHITE, repeats_per_m, (0.0, 0.0, 0.0), 1.0)


def patterns() -> tuple[str, ...]:
    return typing.get_args(typing.get_type_hints(Material)["pattern"])


def test_srgb_becomes_linear() -> None:
    np.testing.assert_allclose(linear_colour((0.0, 0.5, 1.0)), [0, 0.21404, 1], atol=1e-5)


@pytest.mark.parametrize("pattern", patterns())
def test_every_pattern_lies_between_its_colours(pattern: str, paint: Paint) -> None:
    colours = paint(material(pattern), SLANTED)
    assert colours.min() >= 0 and colours.max() <= 1.001
    if pattern != "plain":
        assert 0.1 < colours.mean() < 0.9 and colours.std() > 0.1


@pytest.mark.parametrize("pattern", [name for name in patterns() if name != "plain"])
def test_patterns_finer_than_a_pixel_fade_to_their_mean(pattern: str, paint: Paint) -> None:
    np.testing.assert_allclose(paint(material(pattern, 400.0), SLANTED, footprint_m=0.02), 0.5, atol=0.002)


def test_stripes_repeat_as_often_as_asked_along_x(paint: Paint) -> None:
    line = paint(material("stripes", 4.0), UPRIGHT)[32, :, 0]
    assert np.count_nonzero(np.diff(line > 0.5)) == 2 * 4


def test_neighbouring_checks_differ_and_a_turn_turns_them(paint: Paint) -> None:
    checks = material("checker", 2.0)
    quarters = np.round(paint(checks, UPRIGHT)[16::32, 16::32, 0])
    assert quarters.tolist() == [[0, 1], [1, 0]]
    turned = paint(replace(checks, turn_deg=(0.0, 0.0, 90.0)), UPRIGHT)[16::32, 16::32, 0]
    assert np.round(turned).tolist() == [[1, 0], [0, 1]]


def test_noise_is_smooth(paint: Paint) -> None:
    colours = paint(material("noise", 1.0), 0.5 * SLANTED + 2)[..., 0]
    assert np.abs(np.diff(colours, axis=0)).max() < 0.25 and np.abs(np.diff(colours, axis=1)).max() < 0.25
    assert colours.std() > 0.05
