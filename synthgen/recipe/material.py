"""What random procedural surfaces may look like."""

from synthgen.distributions import Constant, Uniform, names, number
from synthgen.recipe.strict import Strict, even


class MaterialRecipe(Strict):
    """Random procedural surfaces: hue is drawn evenly, saturation and value as given."""

    pattern: names("plain", "noise", "stripes", "checker", "cells", "gradient", "bricks") = even("plain", "noise")
    saturation: number(0, 1) = Uniform(0, 0.9)
    value: number(0, 1) = Uniform(0.08, 0.95)
    repeats_per_m: number(0.01, 500) = Uniform(2, 30)
    roughness: number(0, 1) = Uniform(0.4, 1)
    bump: number(0, 1) = Constant(0)
