"""Dress a body at rest: garments, shoes, hair and hats cut from MakeHuman's helper meshes and from the body itself.

Conventions: rest pose, metres, z up, facing -y. A garment is where a field over rest space is negative; fields are in
metres, so that a body vertex deep inside one can be left out (it would only poke through the cloth). Every piece
carries skinning weights, so clothes follow shape and pose by themselves.
"""

from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from synthgen.subjects.mesh import cut, ripple, vertex_normals

PART_NAMES = ("skin", "lips", "eyes", "iris", "top", "bottom", "shoes", "hair", "hat")

TopKind = Literal["none", "tank", "short", "long"]
BottomKind = Literal["none", "briefs", "shorts", "trousers", "skirt"]
HairKind = Literal["bald", "short", "bob", "long"]
HatKind = Literal["none", "beanie", "cap"]

# Share of the arm (shoulder to wrist) and of the leg (hip to ankle) that a kind covers, at cut 0 and at cut 1.
_SLEEVE_RANGE = {"tank": (-0.045, -0.005), "short": (0.18, 0.52), "long": (0.75, 1.0)}
_LEG_RANGE = {"briefs": (0.1, 0.13), "shorts": (0.2, 0.5), "trousers": (0.72, 0.99), "skirt": (0.3, 0.92)}
# Tops over bottoms, cloth over skin: the smallest distance that keeps two layers apart at the mesh's own coarseness.
_LAYER_M = 0.004
_HAIR_THICKNESS_M = {"short": 0.012, "bob": 0.018, "long": 0.016}


@dataclass(frozen=True)
class Wardrobe:
    """What someone wears. Numbers lie in [0, 1] but for thickness_m.

    Attributes:
        sleeve, leg: length of sleeves and legs (or skirt), from the kind's shortest to its longest.
        hem: how far the top reaches down: 0 waist, 1 below the hips.
        neckline: 0 a high collar, 1 a deep and wide neck.
        looseness: 0 skin-tight, 1 wide; opens hems, sleeves and trouser legs.
        tucked: whether the top ends inside the bottom.
        boots: shaft height of the shoes, from the ankle to half the shin.
        hair_volume: thickness of the hair, from half to twice its kind's.
        hair_length: where a bob or long hair ends, from its kind's shortest to its longest.
        thickness_m: cloth thickness, 0.001 to 0.03.
    """

    top: TopKind = "short"
    bottom: BottomKind = "trousers"
    sleeve: float = 0.5
    leg: float = 1.0
    hem: float = 0.5
    neckline: float = 0.3
    looseness: float = 0.3
    tucked: bool = False
    shoes: bool = True
    boots: float = 0.0
    hair: HairKind = "short"
    hair_volume: float = 0.33
    hair_length: float = 0.5
    hat: HatKind = "none"
    thickness_m: float = 0.004

    def __post_init__(self) -> None:
        for name, kinds in (("top", TopKind), ("bottom", BottomKind), ("hair", HairKind), ("hat", HatKind)):
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
        vertices: [V,3] float32 m; rest: [V,3] float32 m, before cloth was pushed outwards (texture space).
        weights: [V,B] float32 skinning weights.
        faces: [F,4] int32; face_parts: [F] uint8 into PART_NAMES. Every vertex belongs to a face.
    """

    vertices: np.ndarray
    rest: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray


@dataclass(frozen=True, eq=False)
class _Piece:
    """One garment: rest points, where the cloth lies, weights, faces of its own vertices."""

    part: str
    rest: np.ndarray
    vertices: np.ndarray
    weights: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True, eq=False)
class _Frame:
    """Landmarks of a shaped body at rest, and the source meshes with their normals."""

    vertices: np.ndarray
    normals: dict[str, np.ndarray]
    weights: np.ndarray
    faces: dict[str, np.ndarray]
    bones: dict[str, int]
    heads: np.ndarray
    keypoints: dict[str, np.ndarray]
    head_top: np.ndarray
    arm_weight: np.ndarray
    head_weight: np.ndarray
    ground_z: float
    scale: float

    def head(self, bone: str) -> np.ndarray:
        return self.heads[self.bones[bone]]


def dress(
    vertices: np.ndarray,
    heads: np.ndarray,
    weights: np.ndarray,
    faces: dict[str, np.ndarray],
    bone_names: tuple[str, ...],
    keypoints: dict[str, np.ndarray],
    lip_weight: np.ndarray,
    wardrobe: Wardrobe,
) -> DressedBody:
    """Dress a shaped body.

    Args:
        vertices: [V,3] of the whole baked mesh at rest; heads: [B,3]; weights: [V,B].
        faces: groups body, eyes, tights, skirt, [F,4] each.
        keypoints: rest positions of nose, eyes and ears.
        lip_weight: [V], 1 on the lips.
        wardrobe: what to wear.

    Returns:
        The dressed body; body faces wholly under cloth are left out.
    """
    frame = _frame(vertices, heads, weights, faces, bone_names, keypoints)
    pieces, hidden = [], np.zeros(len(vertices), bool)
    for piece, covered in _garments(frame, wardrobe):
        pieces.append(piece)
        hidden |= covered
    body_faces = faces["body"][~hidden[faces["body"]].all(1)]
    body_parts = np.where(lip_weight[body_faces].mean(1) > 0.8, PART_NAMES.index("lips"), PART_NAMES.index("skin"))
    eye_parts = np.where(_iris(vertices, faces["eyes"]), PART_NAMES.index("iris"), PART_NAMES.index("eyes"))
    return _assemble(vertices, weights, [body_faces, faces["eyes"]], [body_parts, eye_parts], pieces)


def _garments(frame: _Frame, wardrobe: Wardrobe):
    """Each worn piece, with the body vertices [V] that lie deep under it."""
    if wardrobe.bottom != "none":
        yield _bottom(frame, wardrobe)
    if wardrobe.top != "none":
        yield _top(frame, wardrobe)
    if wardrobe.shoes:
        yield _shoes(frame, wardrobe)
    if wardrobe.hair != "bald":
        yield _scalp_hair(frame, wardrobe)
        if wardrobe.hair in ("bob", "long"):
            yield _hanging_hair(frame, wardrobe)
    yield _brows(frame)
    if wardrobe.hat != "none":
        yield _hat(frame, wardrobe)


def _top(frame: _Frame, wardrobe: Wardrobe) -> tuple[_Piece, np.ndarray]:
    hem_top, hem_bottom = _waist_z(frame) - 0.02 * frame.scale, frame.head("upperleg01.L")[2] - 0.1 * frame.scale
    hem_z = hem_top if wardrobe.tucked else hem_top + wardrobe.hem * (hem_bottom - hem_top)
    sleeve_m = _within(_SLEEVE_RANGE[wardrobe.top], wardrobe.sleeve) * _arm_length(frame)
    along = _along_arm(frame)
    z = frame.vertices[:, 2]
    field = np.maximum(along - sleeve_m, np.where(frame.arm_weight > 0.5, -0.1, hem_z - z))
    field = np.maximum(field, _neck_field(frame, wardrobe.neckline, wide=wardrobe.top == "tank"))
    offset = np.full(len(z), wardrobe.thickness_m + (0 if wardrobe.tucked else _LAYER_M))
    if not wardrobe.tucked:
        chest_z = frame.head("spine01")[2]
        open_hem = np.clip((chest_z - z) / (chest_z - hem_z), 0, 1) * (1 - frame.arm_weight)
        offset += wardrobe.looseness * 0.03 * frame.scale * open_hem
    offset += wardrobe.looseness * 0.022 * frame.scale * np.clip(along / max(sleeve_m, 0.1), 0, 1)
    return _cloth(frame, "top", "tights", field, offset), _covered(field, offset)


def _bottom(frame: _Frame, wardrobe: Wardrobe) -> tuple[_Piece, np.ndarray]:
    hip_z, ankle_z = frame.head("upperleg01.L")[2], frame.head("foot.L")[2]
    hem_z = hip_z - _within(_LEG_RANGE[wardrobe.bottom], wardrobe.leg) * (hip_z - ankle_z)
    z = frame.vertices[:, 2]
    waist_z = _waist_z(frame) - (0.05 * frame.scale if wardrobe.bottom == "briefs" else 0)
    field = np.maximum(np.maximum(z - waist_z, hem_z - z), np.where(frame.arm_weight > 0.3, 0.1, -0.1))
    offset = np.full(len(z), wardrobe.thickness_m + (_LAYER_M if wardrobe.tucked else 0))
    if wardrobe.bottom == "skirt":
        # Nobody looks further up than half a skirt; thighs there would poke through it in a squat.
        seen_z = min(hip_z - 0.1 * frame.scale, (hip_z + hem_z) / 2)
        return _cloth(frame, "bottom", "skirt", field, offset), _covered(np.maximum(field, seen_z - z), offset)
    if wardrobe.bottom != "briefs":
        offset += wardrobe.looseness * 0.03 * frame.scale * np.clip((hip_z - z) / (hip_z - hem_z), 0, 1)
    return _cloth(frame, "bottom", "tights", field, offset), _covered(field, offset)


def _shoes(frame: _Frame, wardrobe: Wardrobe) -> tuple[_Piece, np.ndarray]:
    ankle_z, knee_z = frame.head("foot.L")[2], frame.head("lowerleg01.L")[2]
    z = frame.vertices[:, 2]
    top_z = ankle_z + 0.005 * frame.scale + wardrobe.boots * 0.5 * (knee_z - ankle_z)
    field = np.maximum(z - top_z, np.where(frame.arm_weight > 0.3, 0.1, -0.1))
    offset = np.full(len(z), 0.007 * frame.scale)
    piece = _cloth(frame, "shoes", "tights", field, offset)
    sole = np.clip(1 - (piece.rest[:, 2] - frame.ground_z) / (0.03 * frame.scale), 0, 1)
    vertices = piece.vertices.copy()
    vertices[:, 2] -= 0.012 * frame.scale * sole
    return _Piece(piece.part, piece.rest, vertices, piece.weights, piece.faces), _covered(field, offset)


def _scalp_hair(frame: _Frame, wardrobe: Wardrobe) -> tuple[_Piece, np.ndarray]:
    field = _scalp_field(frame)
    # Thin at the hairline, full from three centimetres inside it, with locks of a few centimetres.
    depth = np.clip(-field / (0.03 * frame.scale), 0, 1)
    offset = 0.002 + _hair_thickness(frame, wardrobe) * depth * (1 + 0.25 * ripple(frame.vertices / frame.scale))
    return _cloth(frame, "hair", "body", field, offset), np.zeros(len(field), bool)


def _brows(frame: _Frame) -> tuple[_Piece, np.ndarray]:
    """Two thin arcs over the eyes, of hair."""
    eye = frame.keypoints["left_eye"]
    x, y, z = ((frame.vertices - eye) / frame.scale).T
    sideways = np.abs(frame.vertices[:, 0]) / frame.scale - eye[0] / frame.scale
    height = z - (0.0185 - 12 * (sideways - 0.004) ** 2)
    field = np.maximum(np.abs(height) - 0.0035, np.abs(sideways - 0.001) - 0.021)
    field = np.where((frame.head_weight > 0.5) & (y < 0.02), field, 0.1)
    return _cloth(frame, "hair", "body", field, np.full(len(x), 0.001)), np.zeros(len(x), bool)


def _hanging_hair(frame: _Frame, wardrobe: Wardrobe) -> tuple[_Piece, np.ndarray]:
    """A curtain around the back of the head that leaves the face free and lies on the shoulders.

    A grid of rows downwards and columns from the right temple around the back to the left. It hangs from the scalp's
    hair; below the neck it narrows to the back, stays outside the trunk and follows the spine more than the head.
    """
    neck, chest_z, ear = frame.head("neck01"), frame.head("spine01")[2], frame.keypoints["left_ear"]
    scale = frame.scale
    ends = (
        (ear[2] - 0.05 * scale, neck[2]) if wardrobe.hair == "bob" else (neck[2] - 0.04 * scale, chest_z - 0.08 * scale)
    )
    end_z = _within(ends, wardrobe.hair_length)
    start_z = ear[2] + 0.5 * (frame.head_top[2] - ear[2])
    rows, columns = 16, 33
    down = np.linspace(0, 1, rows)[:, None]
    across = np.linspace(-1, 1, columns)[None]
    scalp = frame.vertices[_scalp_field(frame) < 0]
    scalp = scalp[scalp[:, 2] < ear[2] + 0.07 * scale]
    centre_y = (scalp[:, 1].max() + ear[1]) / 2 - 0.01 * scale
    thickness = _hair_thickness(frame, wardrobe) * (0.6 if wardrobe.hat == "none" else 0.4)
    half_width = np.abs(scalp[:, 0]).max() + thickness
    half_depth = scalp[:, 1].max() - centre_y + thickness

    z = start_z + down * (end_z - start_z) + 0.012 * scale * down * np.sin(9 * across + 2)
    below_neck = np.clip((neck[2] + 0.03 * scale - z) / (0.1 * scale), 0, 1)
    angle = across * np.radians(122 - 55 * below_neck)
    # The curtain starts inside the scalp's hair and comes out of it.
    girth = (1 - 0.25 * np.clip(1 - down / 0.25, 0, 1) ** 2) * (
        1 + 0.05 * ripple(np.stack([angle, 0 * angle, z / scale * 0.3], -1))
    )
    x = half_width * girth * np.sin(angle) * (1 - 0.1 * below_neck)
    y = centre_y + half_depth * girth * np.cos(angle)
    y = np.maximum(y, _back_y(frame, x, z) + 0.015 * scale)
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)

    grid = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    faces = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -1).reshape(-1, 4)
    weights = np.zeros((len(points), frame.weights.shape[1]), np.float32)
    on_spine = (0.8 * np.clip((neck[2] - z) / (neck[2] - chest_z), 0, 1)).reshape(-1)
    weights[:, frame.bones["head"]] = 1 - on_spine
    weights[:, frame.bones["spine01"]] = on_spine
    return _Piece("hair", points, points, weights, faces), np.zeros(len(frame.vertices), bool)


def _back_y(frame: _Frame, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How far back the trunk reaches around each point (x, z); -inf where there is none within 3 cm."""
    reach = 0.03 * frame.scale
    trunk = np.unique(frame.faces["tights"])
    trunk = trunk[(frame.arm_weight[trunk] < 0.5) & (frame.vertices[trunk, 2] > z.min() - reach)]
    tx, ty, tz = frame.vertices[trunk].T
    near = (np.abs(x[..., None] - tx) < reach) & (np.abs(z[..., None] - tz) < reach)
    return np.where(near, ty, -np.inf).max(-1)


def _hat(frame: _Frame, wardrobe: Wardrobe) -> tuple[_Piece, np.ndarray]:
    eye, ear = frame.keypoints["left_eye"], frame.keypoints["left_ear"]
    _, y, z = frame.vertices.T
    front_z, ear_z = eye[2] + 0.055 * frame.scale, ear[2] + (0.03 if wardrobe.hat == "beanie" else 0.045) * frame.scale
    line_z = ear_z + (front_z - ear_z) * (y - ear[1]) / (eye[1] - ear[1])
    field = np.where(frame.head_weight > 0.5, line_z - z, 0.1)
    hair_m = 0.0 if wardrobe.hair == "bald" else _hair_thickness(frame, wardrobe)
    offset = np.full(len(z), hair_m + 0.007)
    piece = _cloth(frame, "hat", "body", field, offset)
    if wardrobe.hat == "cap":
        piece = _add_brim(piece, frame, front_z)
    return piece, _covered(field, offset)


def _add_brim(piece: _Piece, frame: _Frame, front_z: float) -> _Piece:
    """A visor: an arc from temple to temple, three rings forwards."""
    rim = piece.vertices[np.abs(piece.rest[:, 2] - front_z) < 0.03 * frame.scale]
    centre_y = rim[:, 1].min() + 0.075 * frame.scale
    half_width = 0.068 * frame.scale
    angles = np.linspace(-1.25, 1.25, 13)
    rings = []
    for ring, reach in enumerate((0.0, 0.55, 1.0)):
        forward = (0.075 + 0.065 * reach) * frame.scale
        x = half_width * (1 + 0.12 * reach) * np.sin(angles)
        y = centre_y - forward * np.cos(angles)
        z = front_z + (0.012 - 0.008 * ring - 0.012 * np.sin(angles) ** 2 * reach) * np.ones_like(x)
        rings.append(np.stack([x, y, z], 1))
    brim = np.concatenate(rings).astype(np.float32)
    grid = np.arange(len(brim)).reshape(3, -1) + len(piece.vertices)
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], -1).reshape(-1, 4)
    weights = np.zeros((len(brim), piece.weights.shape[1]), np.float32)
    weights[:, frame.bones["head"]] = 1
    return _Piece(
        piece.part,
        np.concatenate([piece.rest, brim]),
        np.concatenate([piece.vertices, brim]),
        np.concatenate([piece.weights, weights]),
        np.concatenate([piece.faces, quads.astype(np.int32)]),
    )


def _frame(vertices, heads, weights, faces, bone_names, keypoints) -> _Frame:
    bones = {name: k for k, name in enumerate(bone_names)}
    arm = [k for name, k in bones.items() if name.startswith(("upperarm", "lowerarm", "wrist", "metacarpal", "finger"))]
    body = np.unique(faces["body"])
    head_top = vertices[body[vertices[body, 2].argmax()]]
    return _Frame(
        vertices=vertices,
        normals={name: vertex_normals(vertices, faces[name]) for name in ("tights", "body", "skirt")},
        weights=weights,
        faces=faces,
        bones=bones,
        heads=heads,
        keypoints=keypoints,
        head_top=head_top,
        arm_weight=weights[:, arm].sum(1),
        head_weight=weights[:, [k for name, k in bones.items() if name in ("head", "neck03")]].sum(1),
        ground_z=float(vertices[body, 2].min()),
        scale=float(head_top[2] - vertices[body, 2].min()) / 1.7,
    )


def _waist_z(frame: _Frame) -> float:
    return float(frame.head("spine04")[2] + 0.02 * frame.scale)


def _hair_thickness(frame: _Frame, wardrobe: Wardrobe) -> float:
    return _HAIR_THICKNESS_M[wardrobe.hair] * _within((0.5, 2.0), wardrobe.hair_volume) * frame.scale


def _arm_length(frame: _Frame) -> float:
    shoulder, elbow, wrist = (frame.head(f"{bone}.L") for bone in ("upperarm01", "lowerarm01", "wrist"))
    return float(np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow))


def _along_arm(frame: _Frame) -> np.ndarray:
    """Distance along the nearer arm from the shoulder, m; fades to -0.1 on the trunk."""
    along = np.full(len(frame.vertices), -0.1)
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, elbow, wrist = (frame.head(f"{bone}.{side}") for bone in ("upperarm01", "lowerarm01", "wrist"))
        upper, lower = elbow - shoulder, wrist - elbow
        upper_m, lower_m = np.linalg.norm(upper), np.linalg.norm(lower)
        distance = np.minimum((frame.vertices - shoulder) @ upper / upper_m, upper_m)
        distance = distance + np.maximum((frame.vertices - elbow) @ lower / lower_m, 0)
        mixed = frame.arm_weight * distance - 0.1 * (1 - frame.arm_weight)
        along = np.where(frame.vertices[:, 0] * sign > 0, mixed, along)
    return along


def _neck_field(frame: _Frame, neckline: float, wide: bool) -> np.ndarray:
    """Positive inside the hole for the neck: above a plane that dips to the front, near the neck's axis."""
    neck = frame.head("neck01")
    dip = np.radians(_within((10, 40), neckline))
    height = _within((0.05, -0.06), neckline) * frame.scale
    plane = (frame.vertices - neck) @ np.array([0, -np.sin(dip), np.cos(dip)]) - height
    radius = (_within((0.07, 0.13), neckline) + (0.02 if wide else 0)) * frame.scale
    from_axis = np.hypot(frame.vertices[:, 0], frame.vertices[:, 1] - neck[1])
    hole = np.minimum(plane, radius - from_axis)
    return np.maximum(hole, np.where(frame.head_weight > 0.5, 0.05, -1))


def _scalp_field(frame: _Frame) -> np.ndarray:
    """Negative on the scalp: above a hairline that runs from the forehead over the ears to the nape."""
    eye, ear = frame.keypoints["left_eye"], frame.keypoints["left_ear"]
    _, y, z = frame.vertices.T
    forehead_z = eye[2] + 0.62 * (frame.head_top[2] - eye[2])
    nape_z = ear[2] - 0.045 * frame.scale
    # From the ear forwards the line climbs to the forehead (steeply at the temple), backwards it falls to the nape.
    forwards = np.clip((ear[1] - y) / (ear[1] - eye[1]), 0, 1)
    backwards = np.clip((y - ear[1]) / (0.05 * frame.scale), 0, 1)
    line_z = ear[2] + 0.02 * frame.scale + (forehead_z - ear[2] - 0.02 * frame.scale) * np.sqrt(forwards)
    line_z = line_z + (nape_z - ear[2] - 0.02 * frame.scale) * backwards
    line_z = line_z + 0.004 * frame.scale * ripple(frame.vertices / frame.scale)
    field = np.where(frame.head_weight > 0.5, line_z - z, 0.1)
    for side in ("left_ear", "right_ear"):
        from_ear = np.linalg.norm((frame.vertices - frame.keypoints[side]) / np.array([1.0, 1.0, 1.4]), axis=1)
        field = np.maximum(field, 0.024 * frame.scale - from_ear)
    return field


def _within(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _covered(field: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Body vertices so deep under cloth that no opening shows them."""
    return field < -(0.02 + 1.5 * offset)


def _cloth(frame: _Frame, part: str, source: str, field: np.ndarray, offset: np.ndarray) -> _Piece:
    """Cut a source mesh where the field is 0 and push it outwards by the offset."""
    faces = frame.faces[source]
    faces = faces[(field[faces] < 0).any(1)]
    used, flat = np.unique(faces, return_inverse=True)
    rest = frame.vertices[used]
    pushed = rest + frame.normals[source][used] * offset[used, None]
    carried = np.concatenate([rest, pushed, frame.weights[used]], 1)
    carried, faces = cut(carried, flat.reshape(faces.shape), field[used])
    return _Piece(part, carried[:, :3], carried[:, 3:6], carried[:, 6:], faces)


def _iris(vertices: np.ndarray, eye_faces: np.ndarray) -> np.ndarray:
    """Which faces of the two eyeballs lie within 26 degrees of straight ahead (-y)."""
    middle = vertices[eye_faces].mean(1)
    is_iris = np.zeros(len(eye_faces), bool)
    for side in (middle[:, 0] > 0, middle[:, 0] < 0):
        away = middle[side] - vertices[np.unique(eye_faces[side])].mean(0)
        is_iris[side] = -away[:, 1] > 0.9 * np.linalg.norm(away, axis=1)
    return is_iris


def _assemble(vertices, weights, faces: list, parts: list, pieces: list[_Piece]) -> DressedBody:
    """Body, eyes and pieces as one mesh; vertices that no face uses (helpers, skin under cloth) are left out."""
    all_vertices, all_rest, all_weights = [vertices], [vertices], [weights]
    start = len(vertices)
    for piece in pieces:
        all_vertices.append(piece.vertices)
        all_rest.append(piece.rest)
        all_weights.append(piece.weights)
        faces.append(piece.faces + start)
        parts.append(np.full(len(piece.faces), PART_NAMES.index(piece.part)))
        start += len(piece.vertices)
    used, flat = np.unique(np.concatenate(faces), return_inverse=True)
    return DressedBody(
        vertices=np.concatenate(all_vertices)[used].astype(np.float32),
        rest=np.concatenate(all_rest)[used].astype(np.float32),
        weights=np.concatenate(all_weights)[used].astype(np.float32),
        faces=flat.reshape(-1, 4).astype(np.int32),
        face_parts=np.concatenate(parts).astype(np.uint8),
    )
