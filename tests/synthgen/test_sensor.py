from dataclasses import replace

import numpy as np
import pytest

from synthgen.renderer import Passes
from synthgen.scene import SensorSpec
from synthgen.sensor import develop

PLAIN = SensorSpec(0.0, (1.0, 1.0, 1.0), 1.0, 0.0, 0.0, 1, 0.0)


def grey_passes(level: float = 0.05) -> Passes:
    flat = np.zeros((32, 32))
    radiance = np.full((32, 32, 3), level, np.float32)
    return Passes(radiance, flat.astype(np.uint8), flat, flat.astype(np.uint8), np.zeros((32, 32, 3)))


@pytest.mark.parametrize("level", [0.001, 0.05, 20.0])
def test_exposure_brings_any_light_to_middle_grey(level: float) -> None:
    assert np.unique(develop(grey_passes(level), PLAIN, 0, 0)).tolist() == [118]  # sRGB of linear 0.18


def test_a_stop_more_doubles_the_light() -> None:
    brighter = develop(grey_passes(), replace(PLAIN, exposure_ev=1.0), 0, 0)
    assert np.unique(brighter).tolist() == [162]  # sRGB of linear 0.36


def test_the_subject_is_metered_against_a_bright_background() -> None:
    passes = grey_passes(1.0)
    passes.radiance[8:24, 8:24] = 0.01
    passes.instances[8:24, 8:24] = 1
    metered = develop(passes, PLAIN, 0, 0)
    unmetered = develop(replace(passes, instances=np.zeros_like(passes.instances)), PLAIN, 0, 0)
    assert metered[16, 16, 0] > unmetered[16, 16, 0]


def test_noise_follows_from_its_seed_frame_and_view() -> None:
    noisy = replace(PLAIN, noise=0.02)
    first = develop(grey_passes(), noisy, 0, 0)
    np.testing.assert_array_equal(first, develop(grey_passes(), noisy, 0, 0))
    assert (first != develop(grey_passes(), noisy, 1, 0)).any()
    assert first.std() == pytest.approx(0.02 * 255, rel=0.1)


def test_white_balance_colours_and_vignette_darkens_the_corners_only() -> None:
    warm = develop(grey_passes(), replace(PLAIN, white_balance=(1.2, 1.0, 0.8)), 0, 0)
    assert warm[0, 0, 0] > warm[0, 0, 1] > warm[0, 0, 2]
    shaded = develop(grey_passes(), replace(PLAIN, vignette=0.5), 0, 0)
    assert shaded[0, 0, 0] < 100 and shaded[16, 16, 0] >= 117


def test_highlights_roll_off_instead_of_clipping() -> None:
    passes = grey_passes(0.18)
    passes.radiance[0, :4] = np.array([0.5, 1.0, 2.0, 4.0])[:, None]
    bright = develop(passes, PLAIN, 0, 0)[0, :4, 0]
    assert (np.diff(bright.astype(int)) > 0).all() and bright[-1] <= 255


@pytest.mark.parametrize(("direction_deg", "spread"), [(0, (9, 1)), (90, (1, 9)), (45, (7, 7))])
def test_a_shaken_point_is_smeared_along_its_direction_and_stays_in_the_middle(
    direction_deg: float, spread: tuple[int, int]
) -> None:
    passes = grey_passes(1e-3)
    passes.radiance[16, 16] = 20.0
    smeared = develop(passes, replace(PLAIN, shake_px=8, shake_deg=direction_deg, exposure_ev=-2), 0, 0)[..., 0]
    rows, columns = np.nonzero(smeared > smeared.min() + 20)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == spread
    weights = smeared.astype(float) - smeared.min()
    assert (weights.sum(axis=0) @ np.arange(32) / weights.sum()) == pytest.approx(16, abs=0.05)
    assert (weights.sum(axis=1) @ np.arange(32) / weights.sum()) == pytest.approx(16, abs=0.05)


def test_grey_pictures_have_no_colour_and_compression_leaves_its_marks() -> None:
    passes = grey_passes()
    passes.radiance[:] *= np.random.default_rng(0).uniform(0.2, 2, passes.radiance.shape)
    colour = develop(passes, PLAIN, 0, 0).astype(int)
    grey = develop(passes, replace(PLAIN, greyscale=True), 0, 0).astype(int)
    assert np.ptp(grey, axis=2).max() == 0 and np.ptp(colour, axis=2).max() > 50
    worse, better = (
        np.abs(develop(passes, replace(PLAIN, jpeg_quality=quality), 0, 0) - colour).mean() for quality in (10, 90)
    )
    assert worse > better + 3 and better > 0
