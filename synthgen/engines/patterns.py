"""The procedural materials as numbers for the shader that colours them, for engines without Blender.

The same patterns as synthgen.blender.materials, with its colours, scale and direction: stripes, checks, gradients and
bricks lie where Blender puts them; noise and cells look alike but come from another random lattice. Colours are linear.
"""

from collections.abc import Sequence

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.scene import Colour, Material

KINDS = ("plain", "checker", "bricks", "noise", "cells", "dots", "plaid", "wave")
MATERIAL_TEXELS = 7

# Each pattern's kind, and its details. Of all but bricks: where the kind's value begins and ends to be the second
# colour; then of noise its stretch along z and into how many steps it falls, of waves their scale. Of bricks: width and
# height in units of the pattern, gap, and how far every second row is shifted.
_PATTERNS = {
    "plain": ("plain",),
    "checker": ("checker",),
    "bricks": ("bricks", 0.5, 0.25, 0.02, 0.5),
    "tiles": ("bricks", 1.0, 1.0, 0.015, 0.0),
    "planks": ("bricks", 1.0, 0.12, 0.003, 0.37),
    "noise": ("noise", 0.35, 0.65, 1.0, 0.0),
    "mottled": ("noise", 0.3, 0.72, 1.0, 0.0),
    "denim": ("noise", 0.3, 0.72, 1.0, 0.0),
    "grass": ("noise", 0.3, 0.72, 1.0, 0.0),
    "strands": ("noise", 0.35, 0.7, 0.07, 0.0),
    "freckles": ("noise", 0.6, 0.7, 1.0, 0.0),
    "camouflage": ("noise", 0.35, 0.65, 1.0, 2.0),
    "cells": ("cells", 0.25, 0.45),
    "dots": ("dots", 0.24, 0.28),
    "plaid": ("plaid", 0.45, 0.55, 0.31),
    "stripes": ("wave", 0.46, 0.54, 0.31),
    "gradient": ("wave", 0.0, 1.0, 0.04),
    "knit": ("wave", 0.0, 1.0, 0.31),
}


def material_table(materials: Sequence[Material], flat: Sequence[bool]) -> np.ndarray:
    """[M, 7, 4] float32: first colour and roughness; second colour and sheen; kind of pattern, whether faces are flat
    and repeats a metre; details of the kind; and the three columns of the turn of the pattern."""
    table = np.zeros((len(materials), MATERIAL_TEXELS, 4), dtype=np.float32)
    for row, material, is_flat in zip(table, materials, flat, strict=True):
        kind, *details = _PATTERNS[material.pattern]
        row[0] = *linear_colour(material.colours[0]), material.roughness
        row[1] = *linear_colour(material.colours[1]), material.sheen
        row[2, :3] = KINDS.index(kind), is_flat, material.repeats_per_m
        row[3, : len(details)] = details
        row[4:, :3] = _turn(material.turn_deg).T
    return table


def linear_colour(colour: Colour) -> np.ndarray:
    """sRGB 0..1 to linear [3] float32 (IEC 61966-2-1)."""
    encoded = np.asarray(colour, dtype=np.float32)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _turn(turn_deg: tuple[float, float, float]) -> np.ndarray:
    """Rotation [3, 3] about x, then y, then z, as Blender's mapping node turns."""
    x, y, z = (matrix_from_rotvec(axis) for axis in np.diag(np.deg2rad(turn_deg)))
    return z @ y @ x
