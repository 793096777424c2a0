"""What random procedural surfaces may look like."""

from synthgen.distributions import Constant, Uniform, names, number
from synthgen.recipe.strict import Strict, even

PATTERNS = (
    "plain", "noise", "stripes", "checker", "cells", "gradient", "bricks", "plaid", "dots", "denim", "knit",
    "camouflage", "mottled", "grass", "planks", "tiles",
)  # fmt: skip
PALETTE = (
    "any", "white", "grey", "black", "navy", "denim", "beige", "brown", "olive", "burgundy", "red", "orange",
    "yellow", "green", "teal", "blue", "purple", "pink", "pastel", "vivid", "wood", "stone", "brick", "grass", "sand",
)  # fmt: skip


class MaterialRecipe(Strict):
    """Random procedural surfaces. Colours come from families; `any` draws hue evenly, saturation and value as given."""

    pattern: names(*PATTERNS) = even("plain", "noise")
    palette: names(*PALETTE) = even("any")
    saturation: number(0, 1) = Uniform(0, 0.9)
    value: number(0, 1) = Uniform(0.08, 0.95)
    repeats_per_m: number(0.01, 500) = Uniform(2, 30)
    roughness: number(0, 1) = Uniform(0.4, 1)
    bump: number(0, 1) = Constant(0)
