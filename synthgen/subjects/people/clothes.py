"""Dress a body at rest: one mesh of body, garments, shoes, hair and what the head carries.

Conventions: rest pose, metres, z up, facing -y. Skin deep under cloth is left out, for it would only poke through; skin
near an opening is drawn in a little. Builders are in garments.py and headwear.py.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import get_args

import numpy as np

from synthgen.subjects.people import garments, headwear
from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.garments import BagKind, BottomKind, OuterKind, ShoeKind, TopKind, Worn
from synthgen.subjects.people.headwear import BeardKind, GlassesKind, HairKind, HatKind
from synthgen.subjects.people.paint import Complexion, paint_skin
from synthgen.subjects.people.tailoring import Mannequin, Piece

PART_NAMES = (
    "skin", "lips", "eyes", "iris", "top", "bottom", "shoes", "hair", "hat", "outer", "socks", "soles", "gloves",
    "glasses", "bag", "brows", "lashes", "teeth", "pupil",
)  # fmt: skip
_KINDS = {
    "top": TopKind, "outer": OuterKind, "bottom": BottomKind, "shoes": ShoeKind, "hair": HairKind, "beard": BeardKind,
    "hat": HatKind, "glasses": GlassesKind, "bag": BagKind,
}  # fmt: skip


@dataclass(frozen=True)
class Wardrobe:
    """What someone wears, hair included. Numbers lie in [0, 1] but for thickness_m.

    Attributes:
        sleeve, leg: length of sleeves and legs (or skirt), from the kind's shortest to its longest.
        hem: how far top and outer layer reach down: 0 waist, 1 below the hips.
        neckline: 0 a high collar, 1 a deep and wide neck.
        looseness: 0 skin-tight, 1 wide; opens hems, sleeves and trouser legs and deepens folds.
        opening: how far a jacket or vest gapes in front.
        tucked: whether the top ends inside the bottom.
        socks: 0 none, then from the ankle to below the knee.
        shaft: height of the shoes, from their kind's lowest to its highest.
        hair_volume: thickness of hair and beard. hair_length: where bob, long hair and ponytails end.
        fringe: how far hair hangs into the forehead, up to the brows.
        brow_weight: from thin to bushy brows. round_lenses: from rectangular to round glasses.
        thickness_m: cloth thickness, 0.001 to 0.03.
    """

    top: TopKind = "short"
    outer: OuterKind = "none"
    bottom: BottomKind = "trousers"
    sleeve: float = 0.5
    leg: float = 1.0
    hem: float = 0.5
    neckline: float = 0.3
    looseness: float = 0.3
    opening: float = 0.3
    tucked: bool = False
    socks: float = 0.0
    shoes: ShoeKind = "sneakers"
    shaft: float = 0.3
    gloves: bool = False
    bag: BagKind = "none"
    hair: HairKind = "short"
    hair_volume: float = 0.5
    hair_length: float = 0.5
    fringe: float = 0.0
    brow_weight: float = 0.5
    beard: BeardKind = "none"
    hat: HatKind = "none"
    glasses: GlassesKind = "none"
    round_lenses: float = 0.5
    thickness_m: float = 0.004

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"Wardrobe.{name}={getattr(self, name)!r}: choose one of {', '.join(get_args(kinds))}")
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type is float or item.type == "float":
                low, high = (0.001, 0.03) if item.name == "thickness_m" else (0, 1)
                if not low <= value <= high:
                    raise ValueError(f"Wardrobe.{item.name}={value}: must lie in [{low}, {high}]")


@dataclass(frozen=True, eq=False)
class DressedBody:
    """A body with what it wears, at rest and ready to be skinned.

    Attributes:
        vertices: [V,3] float32 m; rest: [V,3] float32 m, before cloth was pushed outwards.
        weights: [V,B] float32 skinning weights.
        faces: [F,4] int32; face_parts: [F] uint8 into PART_NAMES. Every vertex belongs to a face.
        place: [V,3] float32 m: where each vertex lies in its material, laid out as fabric is cut.
        tint: [V,3] float32 factor on the material's linear colour.
        source: [V] int32 vertex of the baked body whose facial expression it follows, or -1.
        skirt: which vertices hang round the legs and must stay outside of them.
    """

    vertices: np.ndarray
    rest: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    place: np.ndarray
    tint: np.ndarray
    source: np.ndarray
    skirt: slice


def dress(figure: Mannequin, wardrobe: Wardrobe, complexion: Complexion) -> DressedBody:
    """Dress a shaped body; body faces wholly under cloth are left out."""
    body = figure.body
    worn = _clothes(figure, wardrobe)
    pieces = [item.piece for item in worn]
    hidden = np.zeros(len(figure.vertices), bool)
    drawn_in = np.zeros(len(figure.points), np.float32)
    for item in worn:
        hidden |= item.hides[figure.cloth.over] & figure.cloth.under
        drawn_in = np.maximum(drawn_in, np.clip(-0.2 * item.field, 0, 0.004))
    if wardrobe.gloves:
        piece, under = garments.gloves(figure)
        pieces.append(piece)
        hidden |= under
    if wardrobe.hat != "none":
        piece, under = headwear.hat_piece(figure, wardrobe.hat, wardrobe.hair)
        pieces.append(piece)
        hidden |= under
    pieces += headwear.hair_pieces(
        figure, wardrobe.hair, wardrobe.hair_volume, wardrobe.hair_length, wardrobe.fringe, wardrobe.hat
    )
    pieces.append(headwear.brows(figure, wardrobe.brow_weight))
    if wardrobe.beard != "none":
        pieces.append(headwear.beard(figure, wardrobe.beard, wardrobe.hair_volume))
    if wardrobe.glasses != "none":
        pieces += headwear.glasses(figure, wardrobe.glasses, wardrobe.round_lenses)
    faces, parts, is_skin = _body_faces(body)
    shown = ~hidden[faces].all(1)
    inwards = figure.normals * drawn_in[:, None]
    vertices = figure.vertices - np.where((is_skin & figure.cloth.under)[:, None], inwards[figure.cloth.over], 0)
    scalp = headwear.scalp_field(figure, wardrobe.hair, wardrobe.fringe)
    tint = np.where(is_skin[:, None], paint_skin(body, complexion, scalp, wardrobe.hair in ("buzz", "receding")), 1)
    return _assemble(figure, vertices, tint, faces[shown], parts[shown], pieces, hangs=wardrobe.bottom == "skirt")


def keep_off_legs(points: np.ndarray, joints: np.ndarray, radii: np.ndarray, gap_m: float) -> None:
    """Push points [N,3] out of the legs, in place.

    Args:
        joints: [2,3,3] hip, knee, ankle of each leg, posed. radii: [3] of the leg at these.
    """
    for leg in joints:
        for start, end, first, last in ((leg[0], leg[1], radii[0], radii[1]), (leg[1], leg[2], radii[1], radii[2])):
            axis = end - start
            share = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
            away = points - start - share[:, None] * axis
            distance = np.linalg.norm(away, axis=1)
            wanted = first + share * (last - first) + gap_m
            near = distance < wanted
            points[near] += away[near] * (wanted[near] / np.maximum(distance[near], 1e-6) - 1)[:, None]


def _clothes(figure: Mannequin, wardrobe: Wardrobe) -> list[Worn]:
    """Everything that is cut from the tights or hangs on the trunk, from the inside out."""
    w = wardrobe
    if w.bottom == "skirt":
        lower = garments.skirt(figure, w.leg, w.looseness, w.thickness_m)
    else:
        lower = garments.bottom(figure, w.bottom, w.leg, w.looseness, w.thickness_m)
    worn = [lower]
    upper = None
    tucked = w.tucked or w.bottom == "skirt"
    if w.top != "none":
        thickness_m = min(w.thickness_m, 0.003) if tucked else w.thickness_m
        inner = None if tucked else lower
        upper = garments.top(figure, w.top, w.sleeve, w.hem, w.neckline, w.looseness, thickness_m, tucked, inner)
        worn.append(upper)
    if w.outer != "none":
        inner = [item for item in (lower, upper) if item is not None]
        worn += garments.outer(figure, w.outer, w.hem, w.looseness, w.opening, w.thickness_m, inner)
    if w.bag != "none":
        worn += garments.backpack(figure, w.hair_volume, [item for item in worn if item.piece.part in ("top", "outer")])
    shoe_top_z = None
    if w.shoes != "none":
        shoes, top_z = garments.shoes(figure, w.shoes, w.shaft)
        worn += shoes
        shoe_top_z = None if w.shoes == "sandals" else top_z
    if w.socks > 0 and w.bottom != "leggings":
        worn += garments.socks(figure, w.socks, shoe_top_z)
    return worn


@lru_cache(maxsize=2)
def _body_faces(body: HumanBody) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces [F,4] of body, eyes, lashes and teeth, the part of each, and which vertices [V] are skin."""
    lips = body.masks["lips"] / 255.0
    skin_parts = np.where(lips[body.faces["body"]].mean(1) > 0.7, PART_NAMES.index("lips"), PART_NAMES.index("skin"))
    is_skin = np.zeros(len(body.template), bool)
    is_skin[body.faces["body"]] = True
    groups = [body.faces[name] for name in ("body", "eyes", "lashes", "teeth")]
    named = [np.full(len(body.faces[name]), PART_NAMES.index(name)) for name in ("lashes", "teeth")]
    return np.concatenate(groups), np.concatenate([skin_parts, _eye_parts(body), *named]).astype(np.uint8), is_skin


def _eye_parts(body: HumanBody) -> np.ndarray:
    """Iris and pupil: faces of the eyeballs within 25 and 11 degrees of straight ahead (-y)."""
    faces = body.faces["eyes"]
    middle = body.template[faces].mean(1)
    parts = np.full(len(faces), PART_NAMES.index("eyes"))
    for side in (middle[:, 0] > 0, middle[:, 0] < 0):
        away = middle[side] - body.template[np.unique(faces[side])].mean(0)
        angle = np.degrees(np.arccos(-away[:, 1] / np.linalg.norm(away, axis=1)))
        parts[side] = np.select(
            [angle < 11, angle < 25], [PART_NAMES.index("pupil"), PART_NAMES.index("iris")], PART_NAMES.index("eyes")
        )
    return parts


def _assemble(
    figure: Mannequin,
    vertices: np.ndarray,
    tint: np.ndarray,
    faces: np.ndarray,
    parts: np.ndarray,
    pieces: list[Piece],
    hangs: bool,
) -> DressedBody:
    """Body and pieces as one mesh; vertices that no face uses (helpers, skin under cloth) are left out."""
    is_used = np.zeros(len(vertices), bool)
    is_used[faces] = True
    used = np.flatnonzero(is_used)
    new_index = np.cumsum(is_used, dtype=np.int32) - 1
    starts = np.cumsum([len(used), *(len(piece.vertices) for piece in pieces)])
    all_faces = [new_index[faces], *(piece.faces + start for piece, start in zip(pieces, starts, strict=False))]
    all_parts = [parts, *(np.full(len(piece.faces), PART_NAMES.index(piece.part), np.uint8) for piece in pieces)]
    return DressedBody(
        vertices=np.concatenate([vertices[used], *(piece.vertices for piece in pieces)]).astype(np.float32),
        rest=np.concatenate([figure.vertices[used], *(piece.rest for piece in pieces)]).astype(np.float32),
        weights=np.concatenate([figure.body.bone_weights[used], *(piece.weights for piece in pieces)]),
        faces=np.concatenate(all_faces).astype(np.int32),
        face_parts=np.concatenate(all_parts),
        place=np.concatenate([figure.vertices[used], *(piece.place for piece in pieces)]).astype(np.float32),
        tint=np.concatenate([tint[used], *(piece.tint for piece in pieces)]).astype(np.float32),
        source=np.concatenate([used.astype(np.int32), *(piece.source for piece in pieces)]),
        skirt=slice(int(starts[0]), int(starts[1])) if hangs else slice(0, 0),
    )
