"""Chooses surfaces: random procedural materials, fabrics, and plain ones of a given colour."""

import colorsys

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.material import MaterialRecipe
from synthgen.scene import Colour, Material

# Families of colours: ranges of hue, saturation and value (HSV of sRGB, 0..1; hue may wrap), chosen by eye.
_FAMILIES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "white": ((0.0, 1.0), (0.0, 0.06), (0.80, 0.95)),
    "grey": ((0.0, 1.0), (0.0, 0.08), (0.18, 0.70)),
    "black": ((0.0, 1.0), (0.0, 0.18), (0.03, 0.13)),
    "navy": ((0.60, 0.66), (0.40, 0.75), (0.10, 0.32)),
    "denim": ((0.57, 0.62), (0.25, 0.60), (0.22, 0.62)),
    "beige": ((0.08, 0.13), (0.10, 0.35), (0.50, 0.86)),
    "brown": ((0.03, 0.09), (0.35, 0.65), (0.14, 0.42)),
    "olive": ((0.14, 0.24), (0.22, 0.50), (0.18, 0.42)),
    "burgundy": ((0.95, 1.01), (0.50, 0.75), (0.20, 0.42)),
    "red": ((0.97, 1.02), (0.65, 0.90), (0.42, 0.80)),
    "orange": ((0.04, 0.09), (0.60, 0.90), (0.60, 0.90)),
    "yellow": ((0.11, 0.16), (0.45, 0.85), (0.65, 0.92)),
    "green": ((0.30, 0.44), (0.30, 0.70), (0.18, 0.55)),
    "teal": ((0.46, 0.54), (0.30, 0.70), (0.20, 0.60)),
    "blue": ((0.55, 0.66), (0.45, 0.85), (0.30, 0.80)),
    "purple": ((0.70, 0.82), (0.25, 0.60), (0.20, 0.60)),
    "pink": ((0.88, 0.98), (0.15, 0.50), (0.65, 0.95)),
    "pastel": ((0.0, 1.0), (0.10, 0.28), (0.78, 0.95)),
    "vivid": ((0.0, 1.0), (0.70, 0.95), (0.50, 0.95)),
    "wood": ((0.05, 0.10), (0.25, 0.60), (0.25, 0.72)),
    "stone": ((0.05, 0.16), (0.02, 0.14), (0.28, 0.72)),
    "brick": ((0.00, 0.05), (0.35, 0.62), (0.32, 0.62)),
    "grass": ((0.18, 0.29), (0.30, 0.62), (0.18, 0.46)),
    "sand": ((0.08, 0.13), (0.18, 0.40), (0.55, 0.85)),
}
# Patterns of one stuff, whose second colour is a shade of the first, not a contrast to it.
_ONE_STUFF = ("noise", "denim", "knit", "mottled", "grass", "planks", "camouflage", "strands")


def sample_material(recipe: MaterialRecipe, draws: Draws) -> Material:
    """A random procedural surface, its pattern turned any way in space."""
    return _sample(recipe, draws, tuple(draws.stream("turn_deg").uniform(0, 360, 3).tolist()))


def sample_laid_material(recipe: MaterialRecipe, draws: Draws) -> Material:
    """A random surface whose pattern is laid flat, along or across: fabric, floors, walls; rarely at another angle."""
    rng = draws.stream("laid_deg")
    angle = float(rng.uniform(0, 180)) if rng.random() < 0.1 else float(rng.choice([0.0, 90.0], p=[0.35, 0.65]))
    return _sample(recipe, draws, (0.0, 0.0, angle))


def plain(shade: Colour, roughness: float) -> Material:
    """A surface of one colour."""
    return Material("plain", (shade, shade), 1.0, (0.0, 0.0, 0.0), roughness)


def as_colour(values: np.ndarray | tuple[float, ...]) -> Colour:
    """Three numbers as a colour."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _sample(recipe: MaterialRecipe, draws: Draws, turn_deg: tuple[float, float, float]) -> Material:
    pattern = draws.choice("pattern", recipe.pattern)
    family = draws.choice("palette-0", recipe.palette)
    first = _sample_colour(recipe, family, draws, 0)
    if family != "any" and pattern in _ONE_STUFF:
        second = _shade(first, draws)
    else:
        second = _sample_colour(recipe, draws.choice("palette-1", recipe.palette), draws, 1)
    return Material(
        pattern=pattern,
        colours=(first, second),
        repeats_per_m=draws.number("repeats_per_m", recipe.repeats_per_m),
        turn_deg=turn_deg,
        roughness=draws.number("roughness", recipe.roughness),
        bump=draws.number("bump", recipe.bump),
    )


def _sample_colour(recipe: MaterialRecipe, family: str, draws: Draws, number: int) -> Colour:
    if family == "any":
        hue = draws.uniform(f"hue-{number}")
        saturation = draws.number(f"saturation-{number}", recipe.saturation)
        value = draws.number(f"value-{number}", recipe.value)
    else:
        rng = draws.stream(f"colour-{number}")
        hue, saturation, value = (rng.uniform(*ends) for ends in _FAMILIES[family])
    return as_colour(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _shade(colour: Colour, draws: Draws) -> Colour:
    """The same hue, lighter or darker."""
    rng = draws.stream("shade")
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    change = rng.uniform(0.55, 0.85) if rng.random() < 0.6 else rng.uniform(1.15, 1.5)
    return as_colour(colorsys.hsv_to_rgb(hue, saturation * rng.uniform(0.8, 1.0), min(value * change, 0.97)))
