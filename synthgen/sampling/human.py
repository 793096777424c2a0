"""Chooses people: who they are and what they wear."""

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.human import HumanRecipe
from synthgen.sampling.material import as_colour, plain, sample_material
from synthgen.scene import HumanSpec, Material
from synthgen.subjects.human_body import HumanShape
from synthgen.subjects.human_clothes import Wardrobe

# Skin from very light to very dark, sRGB, set by eye; a place on the line through the three is drawn.
_SKIN_LIGHT = np.array([0.93, 0.78, 0.69])
_SKIN_MIDDLE = np.array([0.74, 0.53, 0.40])
_SKIN_DARK = np.array([0.24, 0.15, 0.11])

_HAIR_COLOURS = (
    (0.05, 0.04, 0.04), (0.16, 0.10, 0.06), (0.33, 0.20, 0.11), (0.62, 0.46, 0.26), (0.42, 0.17, 0.08), (0.6, 0.6, 0.6),
)  # fmt: skip
_IRIS_COLOURS = ((0.16, 0.09, 0.05), (0.28, 0.17, 0.08), (0.3, 0.4, 0.48), (0.32, 0.38, 0.22))


def sample_human(recipe: HumanRecipe, draws: Draws) -> HumanSpec:
    shape, clothes = recipe.shape, recipe.clothes
    phenotypes = {name: draws.number(name, getattr(shape, name)) for name in type(shape).model_fields}
    kinds = {name: draws.choice(name, getattr(clothes, name)) for name in ("top", "bottom", "hair", "hat")}
    if kinds["top"] == "none" and not _is_man(phenotypes):
        kinds["top"] = "tank"
    cuts = (
        "sleeve", "leg", "hem", "neckline", "looseness", "boots", "hair_volume", "hair_length", "thickness_m",
    )  # fmt: skip
    lengths = {name: draws.number(name, getattr(clothes, name)) for name in cuts}
    wardrobe = Wardrobe(
        **kinds,
        **lengths,
        tucked=draws.chance("tucked", clothes.tucked),
        shoes=draws.chance("shoes", clothes.shoes),
    )
    fabrics = {part: sample_material(clothes.fabric, draws.within(part)) for part in ("top", "bottom", "shoes", "hat")}
    return HumanSpec(
        kind="human",
        species="human",
        shape=HumanShape(**phenotypes),
        wardrobe=wardrobe,
        materials={
            "skin": sample_skin(draws.stream("skin")),
            "lips": _sample_lips(draws.stream("skin")),
            "hair": sample_hair(draws.stream("hair_colour")),
            "eyes": plain((0.85, 0.83, 0.8), 0.25),
            "iris": sample_iris(draws.stream("iris")),
            **fabrics,
        },
    )


def _is_man(phenotypes: dict[str, float]) -> bool:
    return phenotypes["gender"] < 0.35 and phenotypes["age"] > 0.55


def _skin_colour(rng: np.random.Generator) -> np.ndarray:
    place = rng.uniform(0, 2)
    ends = (_SKIN_LIGHT, _SKIN_MIDDLE) if place < 1 else (_SKIN_MIDDLE, _SKIN_DARK)
    colour = ends[0] + (place % 1) * (ends[1] - ends[0])
    return np.clip(colour * rng.uniform(0.92, 1.08, 3), 0, 1)


def _sample_lips(rng: np.random.Generator) -> Material:
    colour = np.clip(_skin_colour(rng) * np.array([0.95, 0.68, 0.68]), 0, 1)  # the skin's own stream: the same skin
    return plain(as_colour(colour), 0.45)


def sample_skin(rng: np.random.Generator) -> Material:
    colour = _skin_colour(rng)
    reddened = np.clip(colour * np.array([1.06, 0.93, 0.92]), 0, 1)
    roughness = float(rng.uniform(0.4, 0.7))
    return Material("noise", (as_colour(colour), as_colour(reddened)), 14.0, (0.0, 0.0, 0.0), roughness)


def sample_iris(rng: np.random.Generator) -> Material:
    return plain(_IRIS_COLOURS[rng.integers(len(_IRIS_COLOURS))], 0.2)


def sample_hair(rng: np.random.Generator) -> Material:
    colour = np.array(_HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))]) * rng.uniform(0.7, 1.3)
    strands = np.clip(colour * rng.uniform(1.2, 1.9), 0, 1)
    roughness = float(rng.uniform(0.35, 0.7))
    return Material("noise", (as_colour(colour), as_colour(strands)), 60.0, (0.0, 0.0, 0.0), roughness, bump=0.4)
