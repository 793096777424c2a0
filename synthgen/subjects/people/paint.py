"""What colours vary over a person's skin: blush, palms, beard shadow, the hair's roots, nails.

Gives a tint, a factor on each vertex's linear colour, so that every engine shows it by one multiplication.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.regions import body_regions

Srgb = tuple[float, float, float]


@dataclass(frozen=True)
class Complexion:
    """Colours of skin and hair (sRGB, 0..1) and how much each region departs from the skin's own, 0..1.

    Attributes:
        skin, hair, lips: the colours of these parts' materials.
        blush: redness of cheeks, nose, ears, knuckles, elbows, knees. stubble: shadow of a shaved beard.
        sockets: darkness round the eyes.
        roots: how dark the scalp is under the hair; all of it is what a shaved head shows.
    """

    skin: Srgb = (0.74, 0.53, 0.40)
    hair: Srgb = (0.10, 0.07, 0.05)
    lips: Srgb = (0.66, 0.38, 0.33)
    blush: float = 0.3
    stubble: float = 0.0
    sockets: float = 0.3
    roots: float = 0.8

    def __post_init__(self) -> None:
        for name in ("blush", "stubble", "sockets", "roots"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Complexion.{name}={getattr(self, name)}: must lie in [0, 1]")


def paint_skin(body: HumanBody, complexion: Complexion, scalp: np.ndarray | None, thin_hair: bool) -> np.ndarray:
    """Tint [V,3] float32 of each vertex: a factor on the linear colour of the part that it belongs to.

    Args:
        scalp: field of the hairline [V], negative where hair grows; None for a bald head.
        thin_hair: whether the scalp's own skin is what shows the hair (shaved heads).
    """
    region = _weights(body)
    skin = linear(complexion.skin)
    colour = np.tile(skin, (len(body.template), 1))

    def lay(over: np.ndarray, weight: np.ndarray) -> None:
        at = np.flatnonzero(weight > 0.004)
        colour[at] += weight[at, None] * (over - colour[at])

    lightness = skin.mean()
    # Blood shows as red where skin is light and only as a darker brown where it is dark.
    lay(skin * [1.0, 0.55, 0.5], complexion.blush * region["blush"])
    lay(0.35 * skin + 0.65 * linear((0.93, 0.72, 0.62)) * min(1.0, lightness * 1.6 + 0.25), 0.75 * region["palms"])
    lay(skin * [0.62, 0.5, 0.5], 0.7 * complexion.sockets * region["sockets"])
    hair = linear(complexion.hair)
    if complexion.stubble > 0:
        shadow = np.minimum(0.5 * hair + 0.5 * skin * [0.7, 0.75, 0.8], 0.75 * skin)
        lay(shadow, 0.6 * complexion.stubble * region["shaved"])
    if scalp is not None:
        # Roots fade in over the hairline's last centimetre; only a shaved head shows more than its rim.
        rooted = np.clip(0.5 - scalp / 0.012, 0, 1)
        lay(hair if thin_hair else 0.8 * hair + 0.2 * skin, (0.86 if thin_hair else 1.0) * complexion.roots * rooted)
    lay(linear(complexion.lips), 0.8 * region["lips"])
    lay(np.array([0.045, 0.012, 0.012]), region["mouth"])
    lay(0.6 * colour.mean(0) + 0.4 * linear((0.95, 0.8, 0.75)), 0.7 * region["nails"])
    tint = colour / np.maximum(skin, 1e-3)
    return tint.astype(np.float32)


def linear(colour: np.ndarray | Srgb) -> np.ndarray:
    """sRGB 0..1 to linear (IEC 61966-2-1)."""
    colour = np.asarray(colour, np.float64)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=2)
def _weights(body: HumanBody) -> dict[str, np.ndarray]:
    """The weights that painting needs, from the body's regions."""
    regions = body_regions(body)
    return {
        "blush": regions.blush,
        "palms": regions.palms,
        "sockets": np.clip(regions.sockets, 0, 1),
        "shaved": regions.shaved,
        "lips": np.where(regions.lips > 0.1, regions.lips, 0),
        "mouth": regions.mouth,
        "nails": regions.nails,
    }
