"""Coats: what colour an animal is where, painted as a small texture that every engine shows alike.

A coat is painted on the base animal, so markings stretch with a build and move with the skin. Every face has a tile of
its own in the texture, whose outer texels lie exactly on the face's edges: neighbours meet without a seam. Regions and
markings are laid out by `coat_frame` (along the body, up its side, down its legs) and by noise that the coat's seed
fixes; nothing here is drawn. Colours are sRGB 0..1; what comes out is linear.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from scipy.spatial import cKDTree

from synthgen.noise import lattice, two_scales
from synthgen.subjects.animals.rig import BONES, PART_NAMES, AnimalBody
from synthgen.subjects.animals.shape import AnimalFigure, coat_frame
from synthgen.subjects.people.paint import linear
from synthgen.subjects.posed import Painting

Srgb = tuple[float, float, float]
Region = Literal[
    "back", "belly", "saddle", "dorsal", "rump", "belt", "chest", "collar", "head", "muzzle", "blaze", "eyes", "tears",
    "nose", "ears", "inner_ears", "legs", "socks", "tail",
]  # fmt: skip
REGIONS: tuple[str, ...] = get_args(Region)
Kind = Literal["none", "stripes", "spots", "rosettes", "patches", "dapples"]
KINDS: tuple[str, ...] = get_args(Kind)

_TILE_TEXELS = (4, 3)  # along a tile's side, for meshes of large and of small faces
_SMALL_FACES = 25_000  # a mesh of more faces has small ones
# How wide the edge of each region is, as a share of its reach, and how ragged.
_EDGES = {
    "back": (0.45, 0.1), "belly": (0.3, 0.06), "saddle": (0.2, 0.12), "dorsal": (0.5, 0.1), "rump": (0.2, 0.08),
    "belt": (0.04, 0.06), "chest": (0.12, 0.08), "collar": (0.06, 0.07), "head": (0.2, 0.05), "muzzle": (0.14, 0.05),
    "blaze": (0.1, 0.12), "eyes": (0.3, 0.1), "tears": (0.35, 0.05), "nose": (0.08, 0.0), "ears": (0.5, 0.1),
    "inner_ears": (0.5, 0.0), "legs": (0.25, 0.06), "socks": (0.04, 0.06), "tail": (0.15, 0.05),
}  # fmt: skip
_PHOTO = (0.835, 0.557, 0.429)  # mean colour of the dog's photographed fur
_MOST_LIGHTENED = 1.3  # of the photo, whose own white parts must stay short of shining
_HAIR_SHORTER = 2.5  # than the strands of people's hair
_RING_OF_ROSETTE = 0.5  # inner radius by outer


@dataclass(frozen=True)
class Accent:
    """A region in another colour; `amount` 0..1 is how far it reaches."""

    region: Region
    colour: Srgb
    amount: float


@dataclass(frozen=True)
class Markings:
    """What repeats over the coat.

    Attributes:
        colour: of stripes, spots, rings of rosettes, patches. second: within rosettes; other patches beside the first.
        repeats: along the trunk, from the tail's root to the shoulder.
        cover: share of the coat that they cover, 0..1. irregularity: 0 even .. 1 broken and warped.
        strength: 0 unseen .. 1 their full colour.
        belly, legs, head: how far they are left out there, 0..1.
    """

    kind: Kind
    colour: Srgb
    second: Srgb
    repeats: float
    cover: float
    irregularity: float
    strength: float
    belly: float
    legs: float
    head: float


@dataclass(frozen=True)
class Coat:
    """A coat: one colour, regions in others below and above markings.

    Attributes:
        mane: colour of mane and long-haired tail, or None where they are coloured as the body.
        is_photo: whether it tints the photographed fur, whose own colour is then taken out.
        seed: fixes the noise of its layout.
    """

    base: Srgb
    under: tuple[Accent, ...]
    markings: Markings
    over: tuple[Accent, ...]
    mane: Srgb | None
    is_photo: bool
    seed: int


@lru_cache(maxsize=6)
def paint_coat(body: AnimalBody, figure: AnimalFigure, coat: Coat) -> Painting:
    """The coat as a texture of linear colours over all faces of a build of that base.

    Faces of other parts than fur and mane are white there, so that they keep their materials' own colours.
    """
    canvas = _Canvas(body, figure.face_parts)
    layout = _Layout(body, coat.seed)
    colours = np.empty((canvas.num_texels, 3), np.float32)
    colours[:] = linear(coat.base)
    for accent in coat.under:
        _lay(colours, canvas, layout, accent)
    for colour, mask in _markings(canvas, layout, coat.markings):
        _mix(colours, linear(colour), mask)
    for accent in coat.over:
        _lay(colours, canvas, layout, accent)
    if coat.is_photo:
        colours = np.minimum(colours / linear(_PHOTO).astype(np.float32), _MOST_LIGHTENED)
    return canvas.painting(colours, coat.mane)


def combed(rest: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """[V,3] places whose third axis runs along the hair, along the body and down the legs, and is as long as hair is.

    Args:
        rest: [V,3] vertices at rest, m. frame: [V,4] of `coat_frame`.
    """
    limb = _smooth(3 * frame[:, 3:]).astype(np.float32)
    return (rest[:, [0, 2, 1]] + limb * (rest - rest[:, [0, 2, 1]])) * np.float32([1, 1, _HAIR_SHORTER])


def _lay(colours: np.ndarray, canvas: "_Canvas", layout: "_Layout", accent: Accent) -> None:
    """Colour a region, in place."""
    if accent.amount <= 0:
        return
    soft, ragged = _EDGES[accent.region]
    field = layout.region(accent.region) + 2 * ragged * (layout.noise(7.0, 1) - 0.5)
    field = np.where(layout.region(accent.region) > 0, field, 0)
    _mix(colours, linear(accent.colour), _smooth((canvas.spread(field) - (1 - accent.amount)) / soft))


def _mix(colours: np.ndarray, colour: np.ndarray, mask: np.ndarray) -> None:
    at = np.flatnonzero(mask > 0.004)
    colours[at] += mask[at, None] * (colour.astype(np.float32) - colours[at])


def _markings(canvas: "_Canvas", layout: "_Layout", markings: Markings) -> Iterator[tuple[Srgb, np.ndarray]]:
    """Colours and masks [texels] to lay one after the other."""
    along, _, _, leg = layout.frame
    left_out = np.maximum.reduce(
        [
            markings.belly * layout.region("belly") ** 2,
            markings.legs * _smooth(1.5 * leg),
            markings.head * _smooth((along - 1.9) / 0.3),
        ]
    )
    match markings.kind:
        case "none":
            return
        case "stripes":
            phase, level = _stripes(layout, markings)
            wave = np.sin(canvas.spread(phase)) - canvas.spread(level + 1.6 * left_out)
            yield markings.colour, markings.strength * _smooth(wave / 0.35 + 0.5)
        case "patches":
            for colour, seed in ((markings.second, 5), (markings.colour, 2)):
                if seed == 5 and markings.second == markings.colour:
                    continue
                field = layout.noise(markings.repeats, seed)
                field = field + 0.35 * markings.irregularity * (layout.noise(6 * markings.repeats, seed + 1) - 0.5)
                level = np.quantile(field, 1 - markings.cover)
                field = canvas.spread(field - level - 0.5 * left_out)
                yield colour, markings.strength * _smooth(field / 0.02 + 0.5)
        case "spots" | "rosettes" | "dapples":
            yield from _spots(canvas, layout, markings, left_out)


def _stripes(layout: "_Layout", markings: Markings) -> tuple[np.ndarray, np.ndarray]:
    """Phase [V], and how high the sine of it must be for a stripe [V].

    Stripes are upright on the trunk, lie down over the haunches and turn into rings on legs and tail.
    """
    along, up, _, leg = layout.frame
    count = markings.repeats
    way = np.interp(along, [-1, 0, 1, 2, 3], [-0.9, 0, 1, 1.8, 2.5])
    haunch = 0.3 * np.clip(up, -1, 1) * (1 - _smooth(along / 0.5)) * (along >= 0)
    limb = _smooth(2.5 * leg)
    way = way + limb * (layout.way_of_leg - way)
    warp = markings.irregularity * (
        1.1 * (layout.noise(2.2, 3) - 0.5) + (0.5 + 0.5 * limb) * (layout.noise(0.5 * count, 4) - 0.5)
    )
    # What looks forward or back, chest and rump, lies across the way: stripes go on there with the height.
    across = _smooth((np.abs(layout.body.normals[:, 1]) - 0.4) / 0.5) * (1 - limb) * _smooth((1.9 - along) / 0.3)
    across = across * (along > -0.02)
    way = way + 0.9 * across * (layout.body.vertices[:, 2] / layout.body.landmark_points["withers"][2] - 0.75)
    phase = 2 * np.pi * (count * (way + haunch * (1 - limb)) - 0.75 * count * leg + warp)
    thin = 0.3 * _smooth((along - 1.9) / 0.3)
    level = np.cos(np.pi * np.clip(markings.cover * (1 - 0.15 * limb), 0.02, 0.98)) + thin * 0.2
    return phase, level + 1.3 * markings.irregularity * (layout.noise(0.6 * count, 8) - 0.5)


def _spots(
    canvas: "_Canvas", layout: "_Layout", markings: Markings, left_out: np.ndarray
) -> Iterator[tuple[Srgb, np.ndarray]]:
    along, _, _, leg = layout.frame
    smaller = 1 - 0.35 * _smooth(2 * leg) - 0.5 * _smooth((along - 1.9) / 0.3) - 0.2 * _smooth(-2 * along)
    spacing_m = layout.trunk_m / markings.repeats * np.clip(smaller, 0.4, 1)
    seeds = _scatter(layout.body, spacing_m, layout.seed)
    points = layout.body.vertices[seeds]
    reach_m = 0.58 * np.sqrt(markings.cover) * spacing_m[seeds]
    reach_m = reach_m * (1 + markings.irregularity * (lattice(seeds[:, None] * [1, 7, 3], layout.seed) - 0.5))
    reach_m = (reach_m * (left_out[seeds] < 0.5)).astype(np.float32)
    off = canvas.nearest(points, reach_m)
    off = off + 0.6 * markings.irregularity * canvas.spread(layout.noise(2.5 * markings.repeats, 6) - 0.5)
    if markings.kind == "dapples":
        yield markings.colour, markings.strength * _smooth((1.4 - off) / 1.1)
    elif markings.kind == "spots":
        yield markings.colour, markings.strength * _smooth((1 - off) / 0.3 + 0.5)
    else:
        disc = _smooth((1 - off) / 0.25 + 0.5)
        is_ring = canvas.spread(_smooth((smaller - 0.62) / 0.1) * (1 - _smooth((left_out - 0.15) / 0.1)))
        hole = _smooth((_RING_OF_ROSETTE - off) / 0.2 + 0.5) * is_ring
        gaps = canvas.spread(_smooth((0.32 - layout.noise(1.5 * markings.repeats, 9)) / 0.08)) * is_ring
        yield markings.second, markings.strength * disc
        yield markings.colour, markings.strength * disc * (1 - np.maximum(hole, gaps))


def _scatter(body: AnimalBody, spacing_m: np.ndarray, seed: int) -> np.ndarray:
    """Vertices spread over the body, none nearer to an earlier one than that one's spacing [V]."""
    tree = cKDTree(body.vertices)
    is_free = np.ones(len(body.vertices), bool)
    chosen = []
    for vertex in np.argsort(lattice(np.arange(len(is_free))[:, None] * [1, 5, 11], seed)).tolist():
        if is_free[vertex]:
            chosen.append(vertex)
            is_free[tree.query_ball_point(body.vertices[vertex], spacing_m[vertex])] = False
    return np.array(chosen)


class _Canvas:
    """The texels of a base's texture, face by face: [texels] is short for F tiles of n x n."""

    def __init__(self, body: AnimalBody, face_parts: np.ndarray) -> None:
        self._body = body
        self._parts = face_parts
        self._tile = _TILE_TEXELS[len(body.faces) > _SMALL_FACES]
        step = np.linspace(0, 1, self._tile, dtype=np.float32)
        v, u = (grid.reshape(-1) for grid in np.meshgrid(step, step, indexing="ij"))
        # Corners lie at (0, 0), (1, 0), (1, 1), (0, 1) of a tile; a triangle has the first three of them.
        of_quad = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v])
        of_triangle = np.stack([1 - u, u - v, v, 0 * u])
        is_triangle = body.faces[:, 3] == body.faces[:, 2]
        self._kinds = [(np.flatnonzero(is_triangle == kind), w) for kind, w in ((False, of_quad), (True, of_triangle))]
        self.num_texels = len(body.faces) * self._tile**2

    def spread(self, values: np.ndarray) -> np.ndarray:
        """[texels] float32 from values of the vertices [V]."""
        corners = values.astype(np.float32)[self._body.faces]
        result = np.empty((len(corners), self._tile**2), np.float32)
        for faces, weights in self._kinds:
            result[faces] = corners[faces] @ weights
        return result.reshape(-1)

    def nearest(self, points: np.ndarray, reach_m: np.ndarray) -> np.ndarray:
        """[texels] least distance to any of the points [N, 3], in reaches of that point [N]; 9 is far."""
        tree, middles = cKDTree(points), self._body.vertices[self._body.faces].mean(1)
        near = tree.query(middles, k=3)[1]
        places = np.stack([self.spread(axis) for axis in self._body.vertices.T], 1).reshape(len(middles), -1, 3)
        best = np.full(places.shape[:2], 9.0, np.float32)
        for candidate in near.T:
            away = places - points[candidate][:, None]
            off_m = np.sqrt(np.einsum("ftc,ftc->ft", away, away))
            np.minimum(best, off_m / np.maximum(reach_m[candidate], 1e-4)[:, None], out=best)
        return best.reshape(-1)

    def painting(self, colours: np.ndarray, mane: Srgb | None) -> Painting:
        """Tiles of linear colours [texels, 3], in rows of one picture; the mane in its own colour if it has one."""
        num, tile = len(self._body.faces), self._tile
        tiles = colours.reshape(num, tile, tile, 3)
        is_mane = self._parts == PART_NAMES.index("mane")
        if mane is not None:
            tiles[is_mane] = linear(mane)
        tiles[~is_mane & (self._parts != PART_NAMES.index("fur"))] = 1
        columns = int(np.ceil(np.sqrt(num)))
        rows = -(-num // columns)
        sheet = np.ones((rows * columns, tile, tile, 3), np.float32)
        sheet[:num] = tiles[:, ::-1]  # a picture's first row is its top, a tile's is its bottom
        image = sheet.reshape(rows, columns, tile, tile, 3).transpose(0, 2, 1, 3, 4)
        row, column = np.divmod(np.arange(num), columns)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (tile - 1) + 0.5
        texel = np.stack([column, rows - 1 - row], 1)[:, None] * tile + corners
        return Painting(
            image=np.ascontiguousarray(image.reshape(rows * tile, columns * tile, 3)),
            uv=(texel / [columns * tile, rows * tile]).astype(np.float32),
        )


class _Layout:
    """Where regions of a base lie, as values of its vertices [V]: 0 outside, growing to 1 at their core."""

    def __init__(self, body: AnimalBody, seed: int) -> None:
        self.body = body
        self.seed = seed
        self.frame = coat_frame(body).T.astype(np.float64)
        marks = body.landmark_points
        self.trunk_m = float(marks["tail_root"][1] - marks["withers"][1])
        fore = _share(body, "scapula", "upper_arm", "forearm", "hand", "finger")
        self.way_of_leg = np.where(fore > 0.05, 0.95, 0.05)

    def noise(self, repeats: float, number: int) -> np.ndarray:
        """[V] 0..1, mostly near the middle; so many blobs along the trunk."""
        return two_scales(self.body.vertices * (repeats / self.trunk_m) + 31.7, self.seed + 101 * number)

    def region(self, name: str) -> np.ndarray:
        return _regions(self.body, name)


@lru_cache(maxsize=256)
def _regions(body: AnimalBody, name: str) -> np.ndarray:
    along, up, _, leg = coat_frame(body).T.astype(np.float64)
    points, marks = body.vertices.astype(np.float64), body.landmark_points
    ears, head = _share(body, "ear"), _share(body, "head", "jaw", "ear")
    eyes = np.stack([marks["left_eye"], marks["right_eye"]])
    gap_m = np.linalg.norm(eyes[0] - eyes[1])
    face_m = np.linalg.norm(marks["nose"] - eyes.mean(0))
    bare_head = np.clip(along - 2, 0, 1) * np.clip(1 - 2 * ears, 0, 1)
    inwards = -np.sign(points[:, 0]) * body.normals[:, 0]
    match name:
        case "back":
            return 0.5 * (1 + np.clip(up, -1, 1)) * (1 - _smooth(3 * leg))
        case "belly":
            below = 0.3 * (1 - np.clip(up, -1, 1)) + 0.4 * _smooth(-1.2 * body.normals[:, 2])
            of_trunk = below * (1 - _smooth(4 * leg)) * np.clip(1 - 2 * ears, 0, 1)
            return np.maximum(of_trunk, 0.85 * _smooth(4 * leg) * _smooth((inwards + 0.1) / 0.7))
        case "saddle":
            return 0.5 * (1 + np.clip(up, -1, 1)) * _smooth((along - 0.1) / 0.3) * _smooth((1.5 - along) / 0.5)
        case "dorsal":
            line = np.clip(1 - np.abs(points[:, 0]) / (0.12 * np.ptp(points[:, 0])), 0, 1)
            return line * _smooth((up - 0.5) / 0.3) * _smooth((2 - along) / 0.2)
        case "rump":
            root = marks["tail_root"] - [0, 0, 0.12 * marks["withers"][2]]
            return np.clip(1 - np.linalg.norm(points - root, axis=1) / (0.35 * marks["withers"][2]), 0, 1)
        case "belt":
            return np.clip(1 - np.abs(along - 0.8) / 0.6, 0, 1) * (head < 0.5)
        case "chest":
            front = np.clip(1 - np.abs(along - 1.3) / 0.9, 0, 1) * np.clip(0.7 - up, 0, 1)
            return np.clip(1.4 * front, 0, 1) * (1 - _smooth(4 * leg)) * (head < 0.5)
        case "collar":
            return np.clip(1 - np.abs(along - 1.35) / 0.5, 0, 1) * (1 - _smooth(4 * leg))
        case "head":
            return np.clip(along - 1.0, 0, 1)
        case "muzzle":
            return bare_head
        case "blaze":
            half_m = np.abs(points[(head > 0.5) & (ears < 0.1), 0]).max()
            middle = np.clip(1 - np.abs(points[:, 0]) / half_m, 0, 1)
            return middle * _smooth(bare_head / 0.3) * _smooth((up + 0.4) / 0.4)
        case "eyes":
            off_m = np.linalg.norm(points[:, None] - eyes, axis=2).min(1)
            return np.clip(1 - off_m / gap_m, 0, 1) * (head > 0.3)
        case "tears":
            lips = np.array([1, -1])[:, None] * [0.3 * gap_m, 0, 0] + 0.25 * eyes.mean(0) + 0.75 * marks["nose"]
            lips = lips - [0, 0, 0.25 * face_m]
            share = np.linspace(0, 1, 8)[:, None, None]
            line = (eyes + share * (lips - eyes)).reshape(-1, 3)
            return np.clip(1 - cKDTree(line).query(points)[0] / (0.3 * gap_m), 0, 1) * (head > 0.3)
        case "nose":
            return np.clip(1 - np.linalg.norm(points - marks["nose"], axis=1) / (0.5 * face_m), 0, 1) * (head > 0.3)
        case "ears":
            return _smooth(_share(body, "ear1") * 0.7 + _share(body, "ear2") + 0.0)
        case "inner_ears":
            return _smooth(2 * ears) * _smooth((-body.normals[:, 1] - 0.1) / 0.5)
        case "legs" | "socks":
            return leg
        case "tail":
            return np.clip(-along, 0, 1)
    raise ValueError(f"unknown region {name!r}")


def _share(body: AnimalBody, *prefixes: str) -> np.ndarray:
    """[V] how much vertices belong to bones of these names."""
    return body.weights[:, [k for k, name in enumerate(BONES) if name.startswith(prefixes)]].sum(1)


def _smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
