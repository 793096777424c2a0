"""Chooses coats of animals: the species' own (assets/coats.yaml), or random ones of the same regions and markings."""

import colorsys
from dataclasses import replace
from functools import cache
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BeforeValidator, Field

from posecore.resources import resource_dir
from synthgen.randomness import Draws
from synthgen.recipe.quadruped import CoatRecipe
from synthgen.recipe.strict import Strict
from synthgen.sampling.material import as_colour, plain
from synthgen.scene import Colour, Material
from synthgen.subjects.animals.coat import REGIONS, Accent, Coat, Kind, Markings, Region


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _as_ends(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value, value]


_Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
_Range = Annotated[tuple[float, float], BeforeValidator(_as_ends)]
_Regions = dict[Region, tuple[_Names, _Range]]
_RANDOM_REGIONS = tuple(name for name in REGIONS if name not in ("nose", "tears"))
_LIGHT_HAIR, _DARK_HAIR = (1.0, 1.0, 1.0), (0.86, 0.85, 0.84)  # factors on the painted coat
_DARK_MANE = (0.62, 0.6, 0.58)
_WOOL = (0.93, 0.92, 0.91)
_GUMS = np.array([0.68, 0.5, 0.5])  # factors on a skin's pink
_NO_TURN = (0.0, 0.0, 0.0)


class MarkingsStyle(Strict):
    """Ranges of Markings; see there."""

    kind: Kind
    colour: _Names
    second: _Names = ()
    repeats: _Range
    cover: _Range
    irregularity: _Range
    strength: _Range = (1.0, 1.0)
    belly: _Range = (0.0, 0.0)
    legs: _Range = (0.0, 0.0)
    head: _Range = (0.0, 0.0)


class CoatStyle(Strict):
    """One entry of assets/coats.yaml, which says what it means."""

    name: str
    weight: float = 1.0
    base: _Names
    under: _Regions = Field(default_factory=dict)
    markings: MarkingsStyle | None = None
    over: _Regions = Field(default_factory=dict)
    nose: _Names = ("black",)
    iris: _Names = ("liver", "dark")
    mane: _Names | None = None
    hooves: _Names = ("dark", "slate", "grey", "fawn")
    photo: bool = False
    woolly: bool = False
    sleek: bool = False


class CoatStyles(Strict):
    """assets/coats.yaml."""

    colours: dict[str, Colour]
    species: dict[str, tuple[CoatStyle, ...]]


@cache
def coat_styles() -> CoatStyles:
    """All coats of all species.

    Raises:
        pydantic.ValidationError: a wrong key or value in the file.
    """
    content = yaml.safe_load((resource_dir("assets") / "coats.yaml").read_text(encoding="utf-8"))
    return CoatStyles.model_validate(content)


def sample_coat(
    recipe: CoatRecipe, species: str, has_photo: bool, photo: str, draws: Draws
) -> tuple[Coat, dict[str, Material]]:
    """A coat and the materials of the animal's parts.

    Args:
        has_photo: whether the mesh has texture coordinates for the photographed fur; `photo`: its asset.
    """
    style = _pick_style(species, draws)
    is_typical = draws.chance("typical", recipe.typical)
    palette = _Palette(recipe, draws, any_colour=not is_typical and draws.chance("any_colour", recipe.any_colour))
    nose = palette.colour(style.nose)
    if is_typical:
        base = palette.colour(style.base)
        under, over = (_accents(style, palette, draws, where) for where in ("under", "over"))
        markings = _markings(style.markings, base, palette, draws)
    else:
        base = palette.any("base")
        under, over = _random_accents(recipe, palette, draws)
        markings = _random_markings(recipe, palette, draws)
    is_photo = has_photo and draws.chance("coat_texture", recipe.photo) and (style.photo or not is_typical)
    mane = palette.colour(style.mane) if style.mane is not None else None
    coat = Coat(
        base=base,
        under=under,
        markings=markings,
        over=(*over, Accent("nose", nose, 0.35)),
        mane=mane if is_typical or mane is None else palette.any("mane"),
        is_photo=is_photo,
        seed=int(draws.stream("coat_seed").integers(2**31)),
    )
    hair = _hair(style, recipe, draws)
    if is_photo:
        fur = replace(hair, pattern="plain", colours=(_LIGHT_HAIR, _LIGHT_HAIR), bump=0.0, texture=photo)
    else:
        fur = hair
    horns = palette.colour(("cream", "tan", "slate", "dark"))
    return coat, {
        "fur": fur,
        "mane": fur if mane is None else _long_hair(hair),  # without an edge where it is coloured as the body
        "eyes": plain((0.75, 0.72, 0.68), 0.15),
        "iris": plain(as_colour(0.55 * np.array(palette.colour(style.iris))), 0.15),
        "nose": plain(nose, 0.45),
        "horns": Material("noise", (horns, as_colour(0.7 * np.array(horns))), 25.0, _NO_TURN, 0.5),
        "hooves": plain(palette.colour(style.hooves), 0.5),
        "mouth": plain(as_colour(_GUMS * np.array(palette.colour(("pink",)))), 0.35),
        "udder": plain(palette.colour(("pink",)), 0.6),
    }


class _Palette:
    """Draws colours, the same one for the same options."""

    def __init__(self, recipe: CoatRecipe, draws: Draws, any_colour: bool) -> None:
        self._recipe = recipe
        self._draws = draws
        self._any_colour = any_colour

    def colour(self, options: tuple[str, ...]) -> Colour:
        """One of these named colours, a little changed."""
        rng = self._draws.stream(f"colour-{'-'.join(options)}")
        colour = coat_styles().colours[options[rng.integers(len(options))]]
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        sigma = self._draws.number("colour_sigma", self._recipe.colour_sigma)
        hue_change, *factors = rng.normal(0, sigma, 3)
        hue, saturation, value = hue + 0.03 * hue_change, saturation * np.exp(factors[0]), value * np.exp(factors[1])
        return as_colour(colorsys.hsv_to_rgb(hue % 1, min(saturation, 0.95), min(value, 0.92)))

    def any(self, name: str) -> Colour:
        """Any colour of fur, or any at all."""
        if not self._any_colour:
            names = tuple(coat_styles().colours)
            return self.colour((names[self._draws.stream(f"any-{name}").integers(len(names))],))
        rng = self._draws.stream(f"any-{name}")
        saturation = self._draws.number(f"saturation-{name}", self._recipe.saturation)
        value = self._draws.number(f"value-{name}", self._recipe.value)
        return as_colour(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def _pick_style(species: str, draws: Draws) -> CoatStyle:
    styles = coat_styles().species[species]
    shares = np.array([style.weight for style in styles])
    return styles[draws.stream("coat_style").choice(len(styles), p=shares / shares.sum())]


def _accents(style: CoatStyle, palette: _Palette, draws: Draws, where: str) -> tuple[Accent, ...]:
    found = getattr(style, where)
    return tuple(
        Accent(region, palette.colour(names), draws.uniform(f"{where}-{region}", *ends))
        for region, (names, ends) in found.items()
    )


def _markings(style: MarkingsStyle | None, base: Colour, palette: _Palette, draws: Draws) -> Markings:
    if style is None:
        return Markings("none", base, base, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    colour = palette.colour(style.colour)
    names = ("repeats", "cover", "irregularity", "strength", "belly", "legs", "head")
    numbers = {name: draws.uniform(f"markings-{name}", *getattr(style, name)) for name in names}
    return Markings(style.kind, colour, palette.colour(style.second) if style.second else colour, **numbers)


def _random_accents(
    recipe: CoatRecipe, palette: _Palette, draws: Draws
) -> tuple[tuple[Accent, ...], tuple[Accent, ...]]:
    count = min(draws.integer("regions", recipe.regions), len(_RANDOM_REGIONS))
    rng = draws.stream("random_regions")
    chosen = rng.permutation(len(_RANDOM_REGIONS))[:count]
    accents = tuple(
        Accent(_RANDOM_REGIONS[number], palette.any(_RANDOM_REGIONS[number]), float(rng.uniform(0.15, 0.7)))
        for number in chosen
    )
    split = int(rng.integers(count + 1))
    return accents[:split], accents[split:]


def _random_markings(recipe: CoatRecipe, palette: _Palette, draws: Draws) -> Markings:
    names = ("repeats", "cover", "irregularity")
    left_out = draws.stream("left_out").uniform(0, 1, 3) * draws.stream("leaves_out").integers(0, 2, 3)
    return Markings(
        draws.choice("markings", recipe.markings),
        palette.any("markings"),
        palette.any("second"),
        **{name: draws.number(f"markings-{name}", getattr(recipe, name)) for name in names},
        strength=draws.uniform("markings-strength", 0.5, 1),
        belly=float(left_out[0]),
        legs=float(left_out[1]),
        head=float(left_out[2]),
    )


def _long_hair(hair: Material) -> Material:
    return Material("strands", (_DARK_MANE, _LIGHT_HAIR), 60.0, _NO_TURN, hair.roughness, 0.7, sheen=hair.sheen)


def _hair(style: CoatStyle, recipe: CoatRecipe, draws: Draws) -> Material:
    """Fine shades and relief along the hair, as factors on the painted coat."""
    hairs = draws.number("hairs_per_m", recipe.hairs_per_m)
    roughness, bump = draws.number("roughness", recipe.roughness), draws.number("bump", recipe.bump)
    sheen = draws.number("sheen", recipe.sheen)
    shades = (_DARK_HAIR, _LIGHT_HAIR)
    if style.woolly:
        return Material(
            "noise", (_WOOL, _LIGHT_HAIR), 0.25 * hairs, _NO_TURN, max(roughness, 0.8), max(bump, 0.8), sheen=sheen
        )
    if style.sleek:
        return Material("mottled", shades, 0.2 * hairs, _NO_TURN, 0.8 * roughness, 0.5 * bump, sheen=0.3 * sheen)
    return Material("strands", shades, hairs, _NO_TURN, roughness, bump, sheen=sheen)
