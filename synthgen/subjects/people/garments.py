"""Clothes of trunk and limbs: tops, outer layers, trousers, skirts, socks, gloves, shoes, a backpack.

Conventions: those of tailoring.py. A builder gives the piece and the field [T] over the tights whose inside it covers
completely; layers cut from the same mesh keep their order by their offsets, so an inner one never shows through.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from synthgen.subjects.mesh import grid_faces, ripple
from synthgen.subjects.people.tailoring import (
    LAYER_M,
    NOWHERE,
    Mannequin,
    Piece,
    covered,
    garment,
    nearest_weights,
    plain_piece,
    shell,
    within,
)

TopKind = Literal["none", "tank", "short", "long"]
OuterKind = Literal["none", "jacket", "hoodie", "vest"]
BottomKind = Literal["briefs", "shorts", "trousers", "leggings", "skirt"]
ShoeKind = Literal["none", "sneakers", "boots", "sandals"]
BagKind = Literal["none", "backpack"]

# Share of the arm (shoulder to wrist) and of the leg (hip to ankle) that a kind covers, at cut 0 and at cut 1.
_SLEEVE_RANGE = {
    "tank": (-0.045, -0.005), "short": (0.18, 0.5), "long": (0.75, 1.0),
    "jacket": (0.9, 1.02), "hoodie": (0.9, 1.02), "vest": (-0.03, 0.0),
}  # fmt: skip
_LEG_RANGE = {
    "briefs": (0.1, 0.13), "shorts": (0.2, 0.5), "trousers": (0.8, 0.99), "leggings": (0.6, 0.98), "skirt": (0.3, 0.92),
}  # fmt: skip
_SOLE_M = 0.02


@dataclass(frozen=True, eq=False)
class Worn:
    """A garment in the making.

    Attributes:
        field, offset: [T] over the tights: where it is (negative), and how far it stands off.
        hides: [T] bool: which of them lie so deep under it that skin there need not be drawn.
    """

    piece: Piece
    field: np.ndarray
    offset: np.ndarray
    hides: np.ndarray


def bottom(figure: Mannequin, kind: BottomKind, leg: float, looseness: float, thickness_m: float) -> Worn:
    """Everything from briefs to trousers."""
    hip_z, ankle_z = figure.head("upperleg01.L")[2], figure.head("foot.L")[2]
    hem_z = hip_z - within(_LEG_RANGE[kind], leg) * (hip_z - ankle_z)
    z = figure.points[:, 2]
    waist_z = figure.waist_z - (0.05 * figure.scale if kind == "briefs" else 0)
    field = np.where(figure.cloth.arm > 0.3, NOWHERE, np.maximum(z - waist_z, hem_z - z))
    thickness_m = min(thickness_m, 0.003) if kind == "leggings" else thickness_m
    offset = np.full(len(z), thickness_m)
    folds_m = 0.0
    if kind in ("shorts", "trousers"):
        offset += looseness * 0.035 * figure.scale * np.clip((hip_z - z) / (hip_z - hem_z), 0, 1)
        folds_m = (0.003 + 0.006 * looseness) * figure.scale
    piece = garment(figure, "bottom", field, offset, thickness_m, folds_m)
    return Worn(piece, field, offset + folds_m, covered(field, offset))


def top(
    figure: Mannequin,
    kind: TopKind,
    sleeve: float,
    hem: float,
    neckline: float,
    looseness: float,
    thickness_m: float,
    tucked: bool,
    inner: Worn | None,
) -> Worn:
    """Tank tops, t-shirts, long sleeves. `inner` is what it hangs over; None if it is tucked in."""
    hem_top, hem_bottom = figure.waist_z - 0.02 * figure.scale, figure.head("upperleg01.L")[2] - 0.08 * figure.scale
    hem_z = hem_top - 0.03 * figure.scale if tucked else hem_top + hem * (hem_bottom - hem_top)
    field, sleeve_m = _bodice(figure, kind, sleeve, hem_z)
    field = np.maximum(field, _neck_field(figure, neckline, wide=kind == "tank"))
    offset = np.full(len(field), thickness_m) + _drape(figure, 0 if tucked else looseness, hem_z)
    offset += looseness * 0.024 * figure.scale * np.clip(figure.along_arm / max(sleeve_m, 0.1), 0, 1)
    folds_m = (0.0015 + 0.006 * looseness) * figure.scale * (0.4 if tucked else 1)
    offset = _outside(offset, inner)
    piece = garment(figure, "top", field, offset, thickness_m, folds_m)
    return Worn(piece, field, offset + folds_m, covered(field, offset))


def outer(
    figure: Mannequin,
    kind: OuterKind,
    hem: float,
    looseness: float,
    opening: float,
    thickness_m: float,
    inner: list[Worn],
) -> list[Worn]:
    """A jacket, hoodie or vest over the rest; jackets and vests gape in front by `opening`, 0 closed .. 1 wide."""
    hem_top, hem_bottom = figure.waist_z - 0.06 * figure.scale, figure.head("upperleg01.L")[2] - 0.12 * figure.scale
    hem_z = hem_top + hem * (hem_bottom - hem_top)
    field, _ = _bodice(figure, kind, 0.6, hem_z)
    field = np.maximum(field, _neck_field(figure, 0.1 if kind == "hoodie" else 0.25, wide=False))
    x, y, z = figure.points.T
    if kind != "hoodie":
        # Even down the front, and wider towards the neck, where collars fall open.
        high = np.clip((z - figure.head("spine02")[2]) / (0.3 * figure.scale), 0, 1)
        gap = figure.scale * (0.008 + opening * 0.05 + 0.035 * high)
        in_front = (y < figure.head("spine03")[1] - 0.02 * figure.scale) & (figure.cloth.arm < 0.5)
        field = np.where(in_front, np.maximum(field, gap - np.abs(x)), field)
    thickness_m = thickness_m + 0.004
    offset = np.full(len(field), thickness_m + 0.004) + _drape(figure, 0.4 + 0.6 * looseness, hem_z)
    offset += (0.006 + looseness * 0.014) * figure.scale * np.clip(figure.along_arm / 0.1, 0, 1)
    for below in inner:
        offset = _outside(offset, below)
    folds_m = (0.004 + 0.006 * looseness) * figure.scale
    piece = garment(figure, "outer", field, offset, thickness_m, folds_m)
    # What gapes in front shows the layer below, not what lies under that.
    made = [Worn(piece, field, offset + folds_m, covered(field, offset))]
    if kind == "hoodie":
        made.append(replace(made[0], piece=_hood(figure, offset)))
    return made


def skirt(figure: Mannequin, leg: float, looseness: float, thickness_m: float) -> Worn:
    """A skirt, rolled round hips and thighs: `looseness` is its flare and its pleats.

    Rows downwards, columns round. Its lower part follows both thighs by how far it lies to a side, so that a stride
    spans cloth between the legs; human.py keeps it outside of the legs.
    """
    hip_z, ankle_z = figure.head("upperleg01.L")[2], figure.head("foot.L")[2]
    hem_z = hip_z - within(_LEG_RANGE["skirt"], leg) * (hip_z - ankle_z)
    rows, columns = 18, 48
    z = np.linspace(figure.waist_z + 0.01 * figure.scale, hem_z, rows)
    angle = np.arange(columns) * 2 * np.pi / columns
    directions = np.stack([np.sin(angle), -np.cos(angle)], 1)
    trunk = figure.points[
        (figure.cloth.arm < 0.2) & (figure.points[:, 2] > hem_z - 0.05) & (figure.points[:, 2] < z[0] + 0.05)
    ]
    centre = np.array([0.0, np.median(trunk[:, 1])])
    reach = (trunk[:, :2] - centre) @ directions.T
    near = np.abs(trunk[:, 2, None] - z) < 0.035 * figure.scale
    support = np.stack([reach[near[:, row]].max(0) for row in range(rows)])
    down = np.clip((figure.waist_z - 0.06 * figure.scale - z) / (figure.waist_z - hem_z), 0, 1)[:, None]
    hips = z > hip_z - 0.12 * figure.scale
    # It falls straight from the widest place of the hips, and flares.
    support = np.where(
        hips[:, None], support, np.maximum(support[hips].max(0), 0.55 * support + 0.45 * support[hips].max(0))
    )
    support = np.maximum.accumulate(support, axis=0) * (1 + 0.75 * looseness * down)
    pleats = figure.scale * 0.016 * (0.25 + looseness) * down * np.cos(8 * angle + 1.5 * np.sin(3 * angle))[None]
    radius = support + thickness_m + 0.006 + pleats
    points = np.empty((rows, columns, 3))
    points[..., :2] = centre + radius[..., None] * directions
    points[..., 2] = z[:, None] + 0.004 * figure.scale * np.sin(5 * angle) * down
    weights = nearest_weights(figure, points[0]).repeat(rows, 0).reshape(columns, rows, -1).transpose(1, 0, 2).copy()
    low = np.clip((figure.waist_z - z - 0.03 * figure.scale) / (0.26 * figure.scale), 0, 1)
    low = (low * low * (3 - 2 * low))[:, None, None]
    side = np.clip(0.5 + points[..., 0] / (1.5 * np.abs(points[..., 0]).max(1, keepdims=True)), 0, 1)
    below_knee = 0.45 * np.clip((figure.head("lowerleg01.L")[2] - z) / (0.3 * figure.scale), 0, 1)[:, None]
    weights *= 1 - 0.94 * low
    for bone, share in (("upperleg01", 1 - below_knee), ("lowerleg01", below_knee)):
        for name, lean in (("L", side), ("R", 1 - side)):
            weights[..., figure.body.bone(f"{bone}.{name}")] += 0.94 * low[..., 0] * lean * share
    place = np.stack([np.broadcast_to(0.16 * angle, (rows, columns)), points[..., 2], np.zeros((rows, columns))], -1)
    piece = plain_piece(
        "bottom", points.reshape(-1, 3), grid_faces(rows, columns, closed=True), weights.reshape(rows * columns, -1)
    )
    piece = replace(piece, place=place.reshape(-1, 3).astype(np.float32))
    field = np.where(
        figure.cloth.arm > 0.3, NOWHERE, np.maximum(figure.points[:, 2] - z[0], hem_z - figure.points[:, 2])
    )
    seen_z = min(hip_z - 0.1 * figure.scale, (hip_z + hem_z) / 2)  # nobody looks further up than half a skirt
    offset = np.full(len(field), thickness_m + 0.006)
    return Worn(piece, field, offset, covered(np.maximum(field, seen_z - figure.points[:, 2]), offset))


def socks(figure: Mannequin, height: float, shoe_top_z: float | None) -> list[Worn]:
    """Socks up to a share of the shin; only what shoes leave free of them, which may be nothing."""
    ankle_z, knee_z = figure.head("foot.L")[2], figure.head("lowerleg01.L")[2]
    z = figure.points[:, 2]
    top_z = ankle_z + within((0.04, 0.85), height) * (knee_z - ankle_z)
    if shoe_top_z is not None and top_z < shoe_top_z + 0.01 * figure.scale:
        return []
    field = np.where(figure.cloth.arm > 0.3, NOWHERE, z - top_z)
    if shoe_top_z is not None:
        field = np.maximum(field, shoe_top_z - 0.02 * figure.scale - z)
    offset = np.full(len(z), 0.0022)
    return [Worn(garment(figure, "socks", field, offset, 0.002), field, offset, covered(z - top_z, offset))]


def shoes(figure: Mannequin, kind: ShoeKind, shaft: float) -> tuple[list[Worn], float]:
    """Shoes with soles, and how high they reach, m."""
    ankle_z, knee_z = figure.head("foot.L")[2], figure.head("lowerleg01.L")[2]
    x, y, z = figure.points.T
    rise = {"sneakers": 0.012 + 0.02 * shaft, "boots": 0.06 + 0.3 * shaft, "sandals": 0.0}[kind]
    top_z = float(ankle_z + rise * (knee_z - ankle_z) / 0.4)
    foot = (figure.cloth.arm < 0.3) & (z < ankle_z + 0.02 * figure.scale)
    offset = np.full(len(z), 0.006 * figure.scale)
    if kind == "sandals":
        # Two straps: over the toes' roots and round the ankle.
        toe_y, heel_y = y[foot].min(), y[foot].max()
        along = (y - toe_y) / (heel_y - toe_y)
        field = np.minimum(np.abs(along - 0.3) - 0.09, np.abs(along - 0.72) - 0.06) * (heel_y - toe_y)
        field = np.where(foot, np.maximum(field, z - ankle_z), NOWHERE)
        offset = np.full(len(z), 0.003)
        hidden = np.zeros(len(z), bool)
    else:
        # Lower at the ankle's sides than at heel and tongue.
        field = np.where(figure.cloth.arm > 0.3, NOWHERE, z - top_z)
        # The toes' box is full and round.
        offset += 0.006 * figure.scale * np.clip((figure.head("toe1-1.L")[1] - y) / (0.05 * figure.scale), 0, 1)
        hidden = covered(field, offset)
    upper = garment(figure, "shoes", field, offset, 0.004, 0.0)
    soles = [
        _sole(figure, figure.points[foot & (x * sign > 0)], figure.cloth.weights[foot & (x * sign > 0)])
        for sign in (1, -1)
    ]
    worn = [Worn(upper, field, offset, hidden)]
    return worn + [Worn(sole, field, offset, np.zeros(len(z), bool)) for sole in soles], top_z


def gloves(figure: Mannequin) -> tuple[Piece, np.ndarray]:
    """Gloves, and the body's vertices [V] under them."""
    body = figure.body
    hand = [k for k, name in enumerate(body.bone_names) if name.startswith(("wrist", "metacarpal", "finger"))]
    weight = body.bone_weights[:, hand].sum(1)
    faces = body.faces["body"]
    faces = faces[(weight[faces] > 0.05).all(1)]
    field = 0.03 * (0.35 - weight)
    piece = shell(figure, "gloves", faces, field, np.full(len(weight), 0.0025))
    return piece, weight > 0.8


def backpack(figure: Mannequin, size: float, inner: list[Worn]) -> list[Worn]:
    """A rounded bag on the back with two straps over the shoulders."""
    z_top, z_low = (
        figure.head("neck01")[2] - 0.06 * figure.scale,
        figure.waist_z + within((0.12, 0.0), size) * figure.scale,
    )
    x, y, z = figure.points.T
    offset = np.full(len(z), 0.006)
    for below in inner:
        offset = _outside(offset, below)
    trunk = figure.cloth.arm < 0.4
    # Down from the shoulders, and in front from the chest on outwards, under the arms and round to the bag.
    below_m = np.clip(figure.head("spine01")[2] - 0.02 * figure.scale - z, 0, None)
    aside = 0.085 * figure.scale + np.where(y < figure.head("spine03")[1], 0.75, 0.0) * below_m
    strap = np.maximum(np.abs(np.abs(x) - aside) - 0.02 * figure.scale, z_low + 0.06 * figure.scale - z)
    strap = np.where(trunk & (figure.cloth.head < 0.1), strap, NOWHERE)
    straps = garment(figure, "bag", strap, offset + 0.003, 0.004)
    back = trunk & (np.abs(x) < 0.12 * figure.scale) & (z < z_top) & (z > z_low)
    back_y = float((y + offset)[back].max())
    rows, columns = 9, 16
    polar = np.linspace(0, np.pi, rows)[:, None]
    azimuth = np.arange(columns) * 2 * np.pi / columns

    def rounded(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** 0.45

    depth = within((0.07, 0.13), size) * figure.scale
    half = np.array([within((0.12, 0.16), size) * figure.scale, depth, (z_top - z_low) / 2])
    shape = np.stack(
        [rounded(np.sin(polar)) * rounded(np.cos(azimuth)), rounded(np.sin(polar)) * rounded(np.sin(azimuth)),
         rounded(np.cos(polar)) * np.ones(columns)], -1
    )  # fmt: skip
    points = (shape * half + [0, back_y + 0.8 * depth, (z_top + z_low) / 2]).reshape(-1, 3)
    weights = figure.rigid("spine02", len(points))
    bag = plain_piece("bag", points, grid_faces(rows, columns, closed=True)[:, ::-1], weights)
    nothing = np.zeros(len(z), bool)
    return [Worn(straps, strap, offset, nothing), Worn(bag, strap, offset, nothing)]


def _bodice(figure: Mannequin, kind: str, sleeve: float, hem_z: float) -> tuple[np.ndarray, float]:
    """Field of trunk and sleeves, and the sleeves' length, m."""
    sleeve_m = within(_SLEEVE_RANGE[kind], sleeve) * figure.arm_length
    below_hem = np.where(figure.cloth.arm > 0.5, -NOWHERE, hem_z - figure.points[:, 2])
    return np.maximum(figure.along_arm - sleeve_m, below_hem), sleeve_m


def _drape(figure: Mannequin, looseness: float, hem_z: float) -> np.ndarray:
    """How far loose cloth stands off below the chest [T], m."""
    z, chest_z = figure.points[:, 2], figure.head("spine01")[2]
    open_hem = np.clip((chest_z - z) / (chest_z - hem_z), 0, 1) * (1 - figure.cloth.arm)
    return looseness * 0.034 * figure.scale * open_hem


def _outside(offset: np.ndarray, inner: Worn | None) -> np.ndarray:
    """The offset, raised wherever it would not clear the layer below."""
    if inner is None:
        return offset
    return np.where(inner.field < 0.04, np.maximum(offset, inner.offset + LAYER_M), offset)


def _neck_field(figure: Mannequin, neckline: float, wide: bool) -> np.ndarray:
    """Positive inside the hole for the neck: above a plane that dips to the front, near the neck's axis."""
    neck = figure.head("neck01")
    dip = np.radians(within((10, 38), neckline))
    height = within((0.05, -0.055), neckline) * figure.scale
    plane = (figure.points - neck) @ np.array([0, -np.sin(dip), np.cos(dip)]) - height
    radius = (within((0.07, 0.115), neckline) + (0.02 if wide else 0)) * figure.scale
    from_axis = np.hypot(figure.points[:, 0], figure.points[:, 1] - neck[1])
    hole = np.minimum(plane, radius - from_axis)
    return np.maximum(hole, np.where(figure.cloth.head > 0.5, 0.05, -1))


def _hood(figure: Mannequin, offset: np.ndarray) -> Piece:
    """The hood that lies behind the neck: a thick roll from shoulder to shoulder."""
    rows, columns = 15, 10
    neck = figure.head("neck01")
    along = np.linspace(-1.25, 1.25, rows)[:, None]
    around = np.arange(columns) * 2 * np.pi / columns
    thick = figure.scale * 0.032 * np.cos(along * 1.05) ** 0.5 + 0.004
    radius = figure.scale * 0.085 + 0.5 * float(offset.mean())
    ring = radius + thick * np.cos(around)
    x = ring * np.sin(along)
    y = neck[1] + 0.012 * figure.scale + 0.8 * ring * np.cos(along)
    z = neck[2] + 0.012 * figure.scale - 0.03 * figure.scale * np.cos(along) + 1.25 * thick * np.sin(around)
    points = np.stack([x, y, z * np.ones_like(x)], -1).reshape(-1, 3)
    points[:, 2] += 0.004 * figure.scale * ripple(points / figure.scale)
    weights = 0.5 * figure.rigid("spine01", len(points)) + 0.5 * figure.rigid("neck01", len(points))
    return plain_piece("outer", points, grid_faces(rows, columns, closed=True)[:, ::-1], weights)


def _sole(figure: Mannequin, foot: np.ndarray, foot_weights: np.ndarray) -> Piece:
    """A slab under one foot: the outline of its lower part, a little wider, with a rounded edge."""
    low = foot[foot[:, 2] < figure.ground_z + 0.05 * figure.scale]
    outline = cv2.convexHull(low[:, :2].astype(np.float32))[:, 0]
    closed = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    columns = 28
    at = np.arange(columns) / columns * length[-1]
    ring = np.stack([np.interp(at, length, closed[:, k]) for k in (0, 1)], 1)
    middle = ring.mean(0)
    outwards = (ring - middle) / np.linalg.norm(ring - middle, axis=1, keepdims=True)
    if np.cross(ring[1] - ring[0], ring[2] - ring[1]) < 0:
        ring, outwards = ring[::-1], outwards[::-1]
    heights = figure.ground_z + figure.scale * np.array([0.02, 0.014, -0.4 * _SOLE_M, -_SOLE_M, -_SOLE_M])
    widths = figure.scale * np.array([0.003, 0.009, 0.01, 0.006, -1])
    levels = [
        np.column_stack([ring + w * outwards if w > -0.5 else np.broadcast_to(middle, ring.shape), np.full(columns, h)])
        for h, w in zip(heights, widths, strict=True)
    ]
    points = np.concatenate(levels)
    nearest = ((points[:, None] - foot[None]) ** 2).sum(2).argmin(1)
    return plain_piece("soles", points, grid_faces(len(levels), columns, closed=True), foot_weights[nearest])
