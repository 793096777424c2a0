"""The colours of procedural materials at points of a surface, for engines without Blender.

The same patterns as synthgen.blender.materials, with its colours, scale and direction: stripes, checks, gradients and
bricks lie where Blender puts them; noise and cells look alike but come from another random lattice. Colours are linear.
"""

from functools import lru_cache

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.noise import lattice, two_scales
from synthgen.scene import Colour, Material

# Width and height in units of the pattern, gap, and how far every second row is shifted.
_BRICKS = {"bricks": (0.5, 0.25, 0.02, 0.5), "tiles": (1.0, 1.0, 0.015, 0.0), "planks": (1.0, 0.12, 0.003, 0.37)}


def material_colours(material: Material, rest: np.ndarray, footprint_m: np.ndarray) -> np.ndarray:
    """Linear colours [N, 3] float32 of a material without its texture.

    Args:
        rest: [N, 3] metres, where the points lie at rest.
        footprint_m: [N] how much of the surface a pixel covers; a pattern finer than that fades to its mean.
    """
    first, second = linear_colour(material.colours[0]), linear_colour(material.colours[1])
    if material.pattern == "plain":
        return np.broadcast_to(first, (len(rest), 3))
    share = _share_of_second(material, (rest * material.repeats_per_m) @ _turn(material.turn_deg).T)
    fade = np.clip(footprint_m * material.repeats_per_m * 2 - 0.5, 0, 1)
    share = share + (0.5 - share) * fade
    colours = first + share[:, None] * (second - first)
    if material.pattern in _BRICKS:
        mortar = _is_mortar((rest * material.repeats_per_m) @ _turn(material.turn_deg).T, *_BRICKS[material.pattern])
        colours = np.where((mortar & (fade < 0.5))[:, None], (first + second) / 4, colours)
    return colours.astype(np.float32)


def linear_colour(colour: Colour) -> np.ndarray:
    """sRGB 0..1 to linear [3] float32 (IEC 61966-2-1)."""
    encoded = np.asarray(colour, dtype=np.float32)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _share_of_second(material: Material, place: np.ndarray) -> np.ndarray:
    """[N] 0..1: how much of the second colour lies at places of the pattern's own space."""
    match material.pattern:
        case "checker":
            return (np.floor(place + 1e-6).astype(int).sum(axis=1) % 2).astype(np.float32)
        case "bricks" | "tiles" | "planks":
            column, row, _, _ = _brick_of(place, *_BRICKS[material.pattern])
            return lattice(np.stack([column, row, np.zeros(len(place), int)], axis=1))
        case "noise":
            return _ramp(two_scales(place), 0.35, 0.65)
        case "mottled" | "denim" | "grass":
            return _ramp(two_scales(place), 0.3, 0.72)
        case "strands":
            return _ramp(two_scales(place * np.float32([1, 1, 0.07])), 0.35, 0.7)
        case "freckles":
            return _ramp(two_scales(place), 0.6, 0.7)
        case "camouflage":
            return np.round(2 * _ramp(two_scales(place), 0.35, 0.65)) / 2
        case "dots":
            away = place[:, :2] - np.floor(place[:, :2]) - 0.5
            return 1 - _ramp(np.linalg.norm(away, axis=1), 0.24, 0.28)
        case "plaid":
            return (_ramp(_wave(place, 0.31), 0.45, 0.55) + _ramp(_wave(place[:, [1, 0, 2]], 0.31), 0.45, 0.55)) / 2
        case "cells":
            return _ramp(_nearest_seed(place), 0.25, 0.45)
        case "stripes":
            return _ramp(_wave(place, 0.31), 0.46, 0.54)
        case "gradient":
            return _wave(place, 0.04)
        case "knit":
            return _wave(place, 0.31)
    raise ValueError(f"unknown pattern {material.pattern!r}")


@lru_cache(maxsize=64)
def _turn(turn_deg: tuple[float, float, float]) -> np.ndarray:
    """Rotation [3, 3] about x, then y, then z, as Blender's mapping node turns."""
    x, y, z = (matrix_from_rotvec(axis) for axis in np.diag(np.deg2rad(turn_deg)))
    return (z @ y @ x).astype(np.float32)


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((value - low) / (high - low), 0, 1)


def _wave(place: np.ndarray, scale: float) -> np.ndarray:
    """Blender's wave texture: sine bands along x."""
    return 0.5 + 0.5 * np.sin(place[:, 0] * scale * 20 - np.pi / 2)


def _brick_of(
    place: np.ndarray, width: float, height: float, gap: float, shift: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Column and row of the brick at each place, and the place within it; every second row is shifted."""
    row = np.floor(place[:, 1] / height).astype(int)
    x = place[:, 0] + np.where(row % 2, 0.0, shift * width)
    column = np.floor(x / width).astype(int)
    return column, row, x - column * width, place[:, 1] - row * height


def _is_mortar(place: np.ndarray, width: float, height: float, gap: float, shift: float) -> np.ndarray:
    _, _, x, y = _brick_of(place, width, height, gap, shift)
    return np.minimum(np.minimum(x, width - x), np.minimum(y, height - y)) < gap


def _nearest_seed(place: np.ndarray) -> np.ndarray:
    """[N] distance to the nearest of the seeds, one near the middle of each cell."""
    near = np.floor(place - 0.5).astype(int)
    best = np.full(len(place), 4.0, np.float32)
    for corner in np.ndindex(2, 2, 2):
        cell = near + corner
        jitter = np.stack([lattice(cell, seed) for seed in (1, 2, 3)], axis=1) - 0.5
        best = np.minimum(best, ((place - cell - 0.5 - 0.6 * jitter) ** 2).sum(axis=1))
    return np.sqrt(best)
