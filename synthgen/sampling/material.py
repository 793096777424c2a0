"""Chooses surfaces: random procedural materials, and plain ones of a given colour."""

import colorsys

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.material import MaterialRecipe
from synthgen.scene import Colour, Material


def sample_material(recipe: MaterialRecipe, draws: Draws) -> Material:
    """A random procedural surface."""
    first, second = (
        as_colour(
            colorsys.hsv_to_rgb(
                draws.uniform(f"hue-{number}"),
                draws.number(f"saturation-{number}", recipe.saturation),
                draws.number(f"value-{number}", recipe.value),
            )
        )
        for number in range(2)
    )
    return Material(
        pattern=draws.choice("pattern", recipe.pattern),
        colours=(first, second),
        repeats_per_m=draws.number("repeats_per_m", recipe.repeats_per_m),
        turn_deg=tuple(draws.stream("turn_deg").uniform(0, 360, 3).tolist()),
        roughness=draws.number("roughness", recipe.roughness),
        bump=draws.number("bump", recipe.bump),
    )


def plain(shade: Colour, roughness: float) -> Material:
    """A surface of one colour."""
    return Material("plain", (shade, shade), 1.0, (0.0, 0.0, 0.0), roughness)


def as_colour(values: np.ndarray | tuple[float, ...]) -> Colour:
    """Three numbers as a colour."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue
