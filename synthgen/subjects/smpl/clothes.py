"""Clothes for SMPL bodies: garments cut from the body itself, by fields over the T-pose.

Conventions: T-pose, metres, z up, facing -y. A garment is where a field is negative; fields are in metres, so that a
vertex of the body deep inside one can be left out (it would only poke through the cloth).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from synthgen.subjects.mesh import cut, ripple, vertex_normals
from synthgen.subjects.smpl.body import HANDS, SmplBody

PART_NAMES = ("skin", "eyes", "iris", "top", "bottom", "shoes", "hair")

OutfitTop = Literal["none", "tank", "short", "long"]
OutfitBottom = Literal["briefs", "shorts", "trousers"]
OutfitHair = Literal["bald", "short"]

# Share of the arm (shoulder to wrist) and of the leg (hip to ankle) that a kind covers, at cut 0 and at cut 1.
_SLEEVE_RANGE = {"tank": (-0.04, -0.01), "short": (0.18, 0.5), "long": (0.75, 1.0)}
_LEG_RANGE = {"briefs": (0.09, 0.12), "shorts": (0.2, 0.5), "trousers": (0.75, 0.99)}
_LAYER_M = 0.004


@dataclass(frozen=True)
class Outfit:
    """What someone wears. Numbers lie in [0, 1] but for thickness_m.

    Attributes:
        sleeve, leg: length of sleeves and legs, from the kind's shortest to its longest.
        hem: how far the top reaches down: 0 waist, 1 over the hips.
        hair_volume: thickness of the hair, from half to twice its usual one.
        thickness_m: how far cloth stands off the skin, 0.001 to 0.03.
    """

    top: OutfitTop = "short"
    bottom: OutfitBottom = "trousers"
    sleeve: float = 0.5
    leg: float = 1.0
    hem: float = 0.5
    shoes: bool = True
    hair: OutfitHair = "short"
    hair_volume: float = 0.33
    thickness_m: float = 0.004

    def __post_init__(self) -> None:
        for name, kinds in (("top", OutfitTop), ("bottom", OutfitBottom), ("hair", OutfitHair)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"Outfit.{name}={getattr(self, name)!r}: choose one of {', '.join(get_args(kinds))}")
        for item in fields(self):
            if item.type is float:
                low, high = (0.001, 0.03) if item.name == "thickness_m" else (0, 1)
                if not low <= getattr(self, item.name) <= high:
                    raise ValueError(f"Outfit.{item.name}={getattr(self, item.name)}: must lie in [{low}, {high}]")


@dataclass(frozen=True, eq=False)
class DressedSmpl:
    """A body with what it wears, in the T-pose, without vertices that no face uses.

    Attributes:
        points, rest: [N,3] m, pushed outwards where there is cloth, and not.
        sources: [N] the model's vertex whose offsets a point takes. weights: [N,J].
        faces: [F,4]; face_parts: [F] uint8 into PART_NAMES.
    """

    points: np.ndarray
    rest: np.ndarray
    sources: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray


@dataclass(frozen=True, eq=False)
class _Piece:
    """A garment cut from the body: rest points, where the cloth lies, weights, the body's vertex of each, faces."""

    part: str
    rest: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    faces: np.ndarray


def dress(body: SmplBody, vertices: np.ndarray, joints: np.ndarray, outfit: Outfit) -> DressedSmpl:
    """Dress a shaped body.

    Args:
        vertices: [V,3] and joints: [J,3] in the T-pose, m.
    """
    place = {name: joints[body.joint(name)] for name in body.joints}
    scale = float(np.ptp(vertices[np.unique(body.faces), 2])) / 1.7
    z = vertices[:, 2]
    hip_z, ankle_z, waist_z = place["left_hip"][2], place["left_ankle"][2], place["spine1"][2] + 0.01 * scale
    on_arm = _share(body, lambda name: any(word in name for word in ("shoulder", "elbow", "wrist", *HANDS, "hand")))
    on_head = _share(body, lambda name: name in ("neck", "head", "jaw") or "eyeball" in name)
    normals = vertex_normals(vertices, body.faces)
    fields: list[tuple[str, np.ndarray, np.ndarray]] = []

    leg_m = _within(_LEG_RANGE[outfit.bottom], outfit.leg) * (hip_z - ankle_z)
    top_z = waist_z - (0.05 * scale if outfit.bottom == "briefs" else 0)
    field = np.maximum(np.maximum(z - top_z, hip_z - leg_m - z), np.where(on_arm > 0.3, 0.1, -0.1))
    fields.append(("bottom", field, np.full(len(z), outfit.thickness_m)))
    if outfit.top != "none":
        arm_m = np.linalg.norm(place["left_wrist"] - place["left_shoulder"])
        sleeve_m = _within(_SLEEVE_RANGE[outfit.top], outfit.sleeve) * arm_m
        along = on_arm * (np.abs(vertices[:, 0]) - place["left_shoulder"][0]) - 0.1 * (1 - on_arm)
        hem_z = _within((waist_z - 0.02 * scale, hip_z - 0.08 * scale), outfit.hem)
        field = np.maximum(along - sleeve_m, np.where(on_arm > 0.5, -0.1, hem_z - z))
        field = np.maximum(field, 0.15 * scale * (on_head - 0.4))
        fields.append(("top", field, np.full(len(z), outfit.thickness_m + _LAYER_M)))
    if outfit.shoes:
        field = np.maximum(z - ankle_z - 0.005 * scale, np.where(on_arm > 0.3, 0.1, -0.1))
        fields.append(("shoes", field, np.full(len(z), 0.007 * scale)))
    if outfit.hair != "bald":
        field = _scalp_field(body, vertices, on_head, scale)
        depth = np.clip(-field / (0.03 * scale), 0, 1)
        thickness = 0.012 * _within((0.5, 2.0), outfit.hair_volume) * scale
        fields.append(("hair", field, 0.002 + thickness * depth * (1 + 0.25 * ripple(vertices / scale))))

    pieces, hidden = [], np.zeros(len(z), bool)
    for part, field, offset in fields:
        pieces.append(_cloth(body, vertices, normals, part, field, offset))
        if part != "hair":
            hidden |= field < -(0.02 + 1.5 * offset)
    faces = body.faces[~hidden[body.faces].all(1)]
    return _assemble(vertices, body.weights, faces, _body_parts(body, vertices, faces), pieces)


def _scalp_field(body: SmplBody, vertices: np.ndarray, on_head: np.ndarray, scale: float) -> np.ndarray:
    """Negative above a hairline from the forehead over the ears to the nape."""
    eye, ear = vertices[body.landmarks["leye"]], vertices[body.landmarks["lear"]]
    head_top_z = vertices[on_head > 0.5, 2].max()
    _, y, z = vertices.T
    forehead_z = eye[2] + 0.62 * (head_top_z - eye[2])
    line_z = np.interp(
        y,
        [eye[1], eye[1] + 0.3 * (ear[1] - eye[1]), ear[1], ear[1] + 0.05 * scale],
        [forehead_z, forehead_z - 0.01 * scale, ear[2] + 0.02 * scale, ear[2] - 0.045 * scale],
    )
    field = np.where(on_head > 0.5, line_z + 0.004 * scale * ripple(vertices / scale) - z, 0.1)
    for side in ("lear", "rear"):
        from_ear = np.linalg.norm((vertices - vertices[body.landmarks[side]]) / np.array([1.0, 1.0, 1.4]), axis=1)
        field = np.maximum(field, 0.024 * scale - from_ear)
    return field


def _body_parts(body: SmplBody, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Part of each face of the bare body: skin, and SMPL-X's eyeballs with an iris within 26 degrees of straight on."""
    parts = np.full(len(faces), PART_NAMES.index("skin"), np.uint8)
    if body.kind != "smplx":
        return parts
    middle = vertices[faces].mean(1)
    for side in ("left", "right"):
        is_eye = (body.weights[faces, body.joint(f"{side}_eyeball")] > 0.5).all(1)
        if is_eye.any():
            away = middle[is_eye] - vertices[np.unique(faces[is_eye])].mean(0)
            is_iris = -away[:, 1] > 0.9 * np.linalg.norm(away, axis=1)
            parts[is_eye] = np.where(is_iris, PART_NAMES.index("iris"), PART_NAMES.index("eyes"))
    return parts


def _cloth(
    body: SmplBody, vertices: np.ndarray, normals: np.ndarray, part: str, field: np.ndarray, offset: np.ndarray
) -> _Piece:
    """Cut the body where the field is 0 and push it outwards by the offset."""
    faces = body.faces[(field[body.faces] < 0).any(1)]
    used, flat = np.unique(faces, return_inverse=True)
    pushed = vertices[used] + normals[used] * offset[used, None]
    carried = np.concatenate([vertices[used], pushed, body.weights[used]], 1)
    carried, faces = cut(carried, flat.reshape(faces.shape), field[used])
    return _Piece(part, carried[:, :3], carried[:, 3:6], carried[:, 6:], used, faces)


def _assemble(
    vertices: np.ndarray, weights: np.ndarray, faces: np.ndarray, parts: np.ndarray, pieces: list[_Piece]
) -> DressedSmpl:
    """Body and garments as one mesh; vertices that no face uses (skin under cloth) are left out."""
    all_points, all_rest, all_weights, all_sources = [vertices], [vertices], [weights], [np.arange(len(vertices))]
    all_faces, all_parts, start = [faces], [parts], len(vertices)
    for piece in pieces:
        all_points.append(piece.points)
        all_rest.append(piece.rest)
        all_weights.append(piece.weights)
        all_sources.append(piece.sources)
        all_faces.append(piece.faces + start)
        all_parts.append(np.full(len(piece.faces), PART_NAMES.index(piece.part), np.uint8))
        start += len(piece.points)
    used, flat = np.unique(np.concatenate(all_faces), return_inverse=True)
    return DressedSmpl(
        points=np.concatenate(all_points)[used],
        rest=np.concatenate(all_rest)[used],
        sources=np.concatenate(all_sources)[used],
        weights=np.concatenate(all_weights)[used],
        faces=flat.reshape(-1, 4).astype(np.int32),
        face_parts=np.concatenate(all_parts),
    )


def _share(body: SmplBody, chosen: Callable[[str], bool]) -> np.ndarray:
    """Share [V] of each vertex's weight that lies on the chosen joints."""
    return body.weights[:, [k for k, name in enumerate(body.joints) if chosen(name)]].sum(1)


def _within(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])
