import typing
from dataclasses import replace

import numpy as np
import pytest

from synthgen.engines.patterns import linear_colour, material_colours
from synthgen.scene import Material

BLACK_AND_WHITE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
PLACES = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
SHARP = np.zeros(len(PLACES))


def material(pattern: str, repeats_per_m: float = 4.0) -> Material:
    return Material(pattern, BLACK_AND_WHITE, repeats_per_m, (0.0, 0.0, 0.0), 1.0)


def patterns() -> tuple[str, ...]:
    return typing.get_args(typing.get_type_hints(Material)["pattern"])


def test_srgb_becomes_linear() -> None:
    np.testing.assert_allclose(linear_colour((0.0, 0.5, 1.0)), [0, 0.21404, 1], atol=1e-5)


@pytest.mark.parametrize("pattern", patterns())
def test_every_pattern_lies_between_its_colours(pattern: str) -> None:
    colours = material_colours(material(pattern), PLACES, SHARP)
    assert colours.shape == (4000, 3) and colours.dtype == np.float32
    assert colours.min() >= 0 and colours.max() <= 1
    if pattern != "plain":
        assert 0.1 < colours.mean() < 0.9 and colours.std() > 0.1


@pytest.mark.parametrize("pattern", [name for name in patterns() if name != "plain"])
def test_patterns_finer_than_a_pixel_fade_to_their_mean(pattern: str) -> None:
    far = material_colours(material(pattern, 400.0), PLACES, np.full(len(PLACES), 0.02))
    np.testing.assert_allclose(far, 0.5, atol=1e-6)


def test_stripes_repeat_as_often_as_asked_along_x() -> None:
    x = np.arange(0, 1, 0.001)
    line = material_colours(material("stripes", 8.0), np.stack([x, 0 * x, 0 * x], axis=1), 0 * x)[:, 0]
    assert np.count_nonzero(np.diff(line > 0.5)) == 2 * 8


def test_neighbouring_checks_differ_and_a_turn_turns_them() -> None:
    checks = material("checker", 2.0)
    centres = np.array([[0.25, 0.25, 0.25], [0.75, 0.25, 0.25], [0.75, 0.75, 0.25]])
    assert material_colours(checks, centres, np.zeros(3))[:, 0].tolist() == [0, 1, 0]
    turned = material_colours(replace(checks, turn_deg=(0.0, 0.0, 90.0)), centres, np.zeros(3))[:, 0]
    assert turned.tolist() == [1, 0, 1]


def test_noise_is_smooth() -> None:
    x = np.arange(0, 3, 0.002)
    line = material_colours(material("noise", 1.0), np.stack([x, x, 0 * x], axis=1), 0 * x)[:, 0]
    assert np.abs(np.diff(line)).max() < 0.05
