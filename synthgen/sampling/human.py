"""Chooses who people are: build, skin, hair and clothes; and the faces that they make.

Some choices follow others, as among real people: hair colours from skin and age, beards and shirtless tops for men,
skirts not for them, one fabric for a dress.
"""

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.human import ClothesRecipe, ExpressionRecipe, HumanRecipe, LooksRecipe
from synthgen.sampling.material import as_colour, plain, sample_laid_material
from synthgen.scene import Colour, HumanSpec, Material
from synthgen.subjects.people.body import HumanShape
from synthgen.subjects.people.body_changes import CHANGE_NAMES
from synthgen.subjects.people.clothes import Wardrobe
from synthgen.subjects.people.paint import Complexion

# The Monk Skin Tone Scale's ten swatches, sRGB (Monk 2023, skintone.google). They show lit skin; the factor makes
# them the colour of the surface, which light then shades.
_MONK_SCALE = np.array(
    [(246, 237, 228), (243, 231, 219), (247, 234, 208), (234, 218, 186), (215, 189, 150), (160, 126, 86), (130, 92, 67),
     (96, 65, 52), (58, 49, 42), (41, 36, 32)]
) / 255  # fmt: skip
_SURFACE_OF_SWATCH = 0.92
_DARK_SKIN_TONE = 6.5  # from here on natural hair is black or dark brown

_HAIR_COLOURS = {
    "black": (0.05, 0.04, 0.04), "dark_brown": (0.14, 0.09, 0.06), "brown": (0.28, 0.18, 0.11),
    "auburn": (0.36, 0.16, 0.09), "red": (0.52, 0.24, 0.11), "blond": (0.66, 0.51, 0.31),
    "grey": (0.48, 0.47, 0.46), "white": (0.80, 0.79, 0.76), "pink": (0.75, 0.35, 0.50), "blue": (0.16, 0.28, 0.52),
    "green": (0.20, 0.42, 0.28),
}  # fmt: skip
_DYED = ("pink", "blue", "green")
_IRIS_COLOURS = ((0.13, 0.08, 0.05), (0.25, 0.15, 0.07), (0.28, 0.38, 0.46), (0.30, 0.35, 0.20), (0.35, 0.38, 0.4))

# Facial actions of each family at full strength (names as in ARKit).
_EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouthSmile": 0.9, "cheekSquint": 0.5, "eyeSquint": 0.25},
    "laugh": {"mouthSmile": 1.0, "jawOpen": 0.45, "cheekSquint": 0.8, "eyeSquint": 0.5, "mouthUpperUp": 0.4},
    "talk": {"jawOpen": 0.35, "mouthFunnel": 0.3, "mouthLowerDown": 0.3},
    "shout": {"jawOpen": 0.95, "browDown": 0.5, "noseSneer": 0.4, "mouthStretch": 0.4},
    "frown": {"mouthFrown": 0.9, "browDown": 0.7, "browInnerUp": 0.3},
    "surprise": {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.4},
    "squint": {"eyeSquint": 0.9, "browDown": 0.5, "noseSneer": 0.3},
    "eyes_closed": {"eyeBlink": 0.95},
    "pucker": {"mouthPucker": 0.9, "cheekPuff": 0.3},
}
_ACTIONS_OF_RANDOM = (
    "browDown", "browInnerUp", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "jawOpen",
    "mouthFrown", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthStretch", "noseSneer",
)  # fmt: skip
_UNPAIRED_ACTIONS = ("browInnerUp", "cheekPuff", "jawOpen", "mouthFunnel", "mouthPucker")


def sample_human(recipe: HumanRecipe, draws: Draws) -> HumanSpec:
    """Everything about a person that the frames of a scene share."""
    shape = _sample_shape(recipe, draws)
    wardrobe = _sample_wardrobe(recipe.clothes, shape, draws)
    complexion = _sample_complexion(recipe.looks, shape, wardrobe, draws)
    materials = _sample_fabrics(recipe.clothes, wardrobe, draws)
    roughness = draws.number("skin_roughness", recipe.looks.skin_roughness)
    is_woolly = wardrobe.hair in ("curly", "afro")
    brows = as_colour(np.array(complexion.hair) * 0.7)
    return HumanSpec(
        kind="human",
        species="human",
        shape=shape,
        wardrobe=wardrobe,
        complexion=complexion,
        materials={
            "skin": _skin_material(complexion.skin, roughness, draws.chance("freckled", recipe.looks.freckles)),
            "lips": plain(complexion.skin, roughness),  # their own colour is in the tint, which fades at their edge
            "hair": _hair_material(complexion.hair, is_woolly, draws.stream("strands")),
            "brows": plain(brows, 0.8),
            "lashes": plain((0.03, 0.025, 0.02), 0.8),
            "eyes": plain((0.62, 0.59, 0.56), 0.45),
            "iris": sample_iris(draws.stream("iris")),
            "pupil": plain((0.01, 0.01, 0.01), 0.2),
            "teeth": plain((0.80, 0.76, 0.68), 0.4),
            **materials,
        },
    )


def sample_face(recipe: ExpressionRecipe, draws: Draws) -> dict[str, float]:
    """Facial actions and their strengths, left and right nearly alike; empty for a neutral face."""
    family, strength = draws.choice("expression", recipe.family), draws.number("expression_strength", recipe.strength)
    rng = draws.stream("expression_actions")
    actions = _EXPRESSIONS.get(family)
    if actions is None:
        chosen = rng.choice(len(_ACTIONS_OF_RANDOM), 3, replace=False)
        actions = {_ACTIONS_OF_RANDOM[k]: float(rng.uniform(0.2, 0.8)) for k in chosen}
    expression = {}
    for action, full in actions.items():
        sides = ("",) if action in _UNPAIRED_ACTIONS else ("Left", "Right")
        for side in sides:
            expression[action + side] = float(np.clip(strength * full * rng.uniform(0.85, 1.15), 0, 1))
    return {action: share for action, share in expression.items() if share > 0.01}


def sample_skin(rng: np.random.Generator) -> Material:
    """Skin of any tone, for bodies without a Complexion."""
    return _skin_material(_skin_colour(rng.uniform(1, 10), rng), float(rng.uniform(0.5, 0.75)), is_freckled=False)


def sample_iris(rng: np.random.Generator) -> Material:
    return plain(_IRIS_COLOURS[rng.integers(len(_IRIS_COLOURS))], 0.25)


def sample_hair(rng: np.random.Generator) -> Material:
    """Straight hair of any natural colour, for bodies without a Complexion."""
    natural = [colour for name, colour in _HAIR_COLOURS.items() if name not in _DYED]
    return _hair_material(as_colour(np.array(natural[rng.integers(len(natural))]) * rng.uniform(0.75, 1.2)), False, rng)


def _sample_shape(recipe: HumanRecipe, draws: Draws) -> HumanShape:
    phenotypes = {
        name: draws.number(name, getattr(recipe.shape, name))
        for name in type(recipe.shape).model_fields
        if name not in ("changes", "change_strength")
    }
    count = min(draws.integer("changes", recipe.shape.changes), len(CHANGE_NAMES))
    sigma = draws.number("change_strength", recipe.shape.change_strength)
    rng = draws.stream("changed")
    chosen = sorted(rng.choice(len(CHANGE_NAMES), count, replace=False).tolist())
    strengths = np.clip(rng.normal(0, sigma, count), -1, 1).tolist()
    changes = tuple((CHANGE_NAMES[k], strength) for k, strength in zip(chosen, strengths, strict=True))
    return HumanShape(**phenotypes, changes=changes)


def _is_man(shape: HumanShape) -> bool:
    return shape.gender < 0.4 and shape.age > 0.52


def _sample_wardrobe(clothes: ClothesRecipe, shape: HumanShape, draws: Draws) -> Wardrobe:
    is_man = _is_man(shape)
    chosen = ("top", "outer", "bottom", "shoes", "hat", "glasses", "bag")
    kinds = {name: draws.choice(name, getattr(clothes, name)) for name in chosen}
    kinds["hair"] = draws.choice("hair", clothes.hair_of_men if is_man else clothes.hair)
    kinds["beard"] = draws.choice("beard", clothes.beard) if is_man else "none"
    if kinds["top"] == "none" and not is_man:
        kinds["top"] = "tank"
    if kinds["bottom"] == "skirt" and is_man:
        kinds["bottom"] = "shorts"
    numbers = (
        "sleeve", "leg", "hem", "neckline", "looseness", "opening", "shaft", "hair_volume", "hair_length", "fringe",
        "brow_weight", "round_lenses", "thickness_m",
    )  # fmt: skip
    return Wardrobe(
        **kinds,
        **{name: draws.number(name, getattr(clothes, name)) for name in numbers},
        socks=draws.uniform("sock_height", 0.01, 1) if draws.chance("socks", clothes.socks) else 0.0,
        tucked=draws.chance("tucked", clothes.tucked),
        gloves=draws.chance("gloves", clothes.gloves),
    )


def _sample_fabrics(clothes: ClothesRecipe, wardrobe: Wardrobe, draws: Draws) -> dict[str, Material]:
    recipes = dict.fromkeys(("top", "outer", "hat", "bag"), clothes.fabric) | {"bottom": clothes.bottom_fabric}
    recipes |= dict.fromkeys(("shoes", "socks", "gloves"), clothes.shoe_fabric)
    materials = {part: sample_laid_material(fabric, draws.within(part)) for part, fabric in recipes.items()}
    if wardrobe.bottom == "skirt" and draws.chance("dress", clothes.dress):
        materials["bottom"] = materials["top"]
    sole = materials["shoes"].colours[1] if draws.uniform("coloured_soles") < 0.3 else (0.82, 0.81, 0.78)
    dark = draws.uniform("dark_frames") < 0.7
    frames = (0.03, 0.03, 0.035) if dark else materials["socks"].colours[0]
    return {**materials, "soles": plain(sole, 0.8), "glasses": plain(frames, 0.2)}


def _sample_complexion(looks: LooksRecipe, shape: HumanShape, wardrobe: Wardrobe, draws: Draws) -> Complexion:
    tone = draws.number("skin_tone", looks.skin_tone)
    skin = _skin_colour(tone, draws.stream("skin_shade"))
    hair = _hair_colour(looks, tone, shape.age, draws)
    reddened = draws.number("lip_colour", looks.lip_colour)
    lips = np.clip(np.array(skin) * (1 - reddened * np.array([0.1, 0.42, 0.38])), 0, 1)
    if not _is_man(shape) and shape.age > 0.5 and draws.chance("lipstick", looks.lipstick):
        lips = np.array([0.62, 0.10, 0.14]) * draws.stream("lipstick_shade").uniform((0.7, 0.6, 0.6), (1.15, 2.2, 2.0))
    shaves = _is_man(shape) and draws.chance("stubbly", looks.stubble)
    return Complexion(
        skin=skin,
        hair=hair,
        lips=as_colour(np.clip(lips, 0, 1)),
        blush=draws.number("blush", looks.blush),
        stubble=draws.uniform("stubble", 0.25, 1) if shaves or wardrobe.beard in ("goatee", "full") else 0.0,
        sockets=draws.number("sockets", looks.sockets),
        roots=draws.uniform("roots", 0.55, 1),
    )


def _skin_colour(tone: float, rng: np.random.Generator) -> Colour:
    """A place on the Monk scale, 1 to 10, a little redder or yellower, lighter or darker."""
    colour = np.array([np.interp(tone - 1, np.arange(10), channel) for channel in _MONK_SCALE.T])
    red, level = rng.normal(0, 0.03), rng.normal(0, 0.025)
    # The swatches are of unflushed skin; blood adds red, most visibly where there is little melanin.
    colour = colour * _SURFACE_OF_SWATCH * [1.04, 0.93 - red, 0.86 - 0.6 * red] * (1 + level)
    return as_colour(np.clip(colour, 0.02, 0.95))


def _hair_colour(looks: LooksRecipe, tone: float, age: float, draws: Draws) -> Colour:
    name = draws.choice("hair_colour", looks.hair_colour)
    rng = draws.stream("hair_shade")
    natural_on_dark = "black" if rng.random() < 0.75 else "dark_brown"
    if tone > _DARK_SKIN_TONE and name not in ("black", "dark_brown", "grey", "white", *_DYED):
        name = natural_on_dark
    turns_grey = rng.random() < np.clip((age - 0.76) / 0.2, 0, 0.9)
    if turns_grey:
        name = "white" if rng.random() < 0.3 else "grey"
    elif age < 0.6 and name in ("grey", "white"):
        name = "brown" if tone <= _DARK_SKIN_TONE else natural_on_dark
    return as_colour(np.clip(np.array(_HAIR_COLOURS[name]) * rng.uniform(0.75, 1.3), 0, 1))


def _skin_material(skin: Colour, roughness: float, is_freckled: bool) -> Material:
    if is_freckled:
        spots = as_colour(np.array(skin) * [0.93, 0.84, 0.77])
        return Material("freckles", (skin, spots), 400.0, (0.0, 0.0, 0.0), roughness)
    reddened = np.clip(np.array(skin) * [1.03, 0.95, 0.94], 0, 1)
    return Material("noise", (skin, as_colour(reddened)), 30.0, (0.0, 0.0, 0.0), roughness)


def _hair_material(hair: Colour, is_woolly: bool, rng: np.random.Generator) -> Material:
    lighter = as_colour(np.clip(np.array(hair) * rng.uniform(1.35, 1.9) + 0.015, 0, 1))
    straight = 0.0, 0.0, 0.0
    if is_woolly:
        return Material("noise", (hair, lighter), float(rng.uniform(90, 150)), straight, 0.85, bump=0.6)
    repeats, roughness = float(rng.uniform(160, 300)), float(rng.uniform(0.4, 0.65))
    return Material("strands", (hair, lighter), repeats, straight, roughness, bump=0.35)
