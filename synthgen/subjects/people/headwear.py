"""What heads carry: hair, brows, beards, hats, glasses.

Conventions: those of tailoring.py. Everything follows the head, and what lies on the face follows its expression.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np

from synthgen.subjects.mesh import grid_faces, rim_edges, ripple
from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.tailoring import NOWHERE, Mannequin, Piece, plain_piece, shell, within

HairKind = Literal[
    "bald", "buzz", "receding", "short", "parted", "curly", "afro", "bob", "long", "ponytail", "bun"
]  # fmt: skip
BeardKind = Literal["none", "moustache", "goatee", "full"]
HatKind = Literal["none", "beanie", "cap", "bucket", "brimmed", "helmet"]
GlassesKind = Literal["none", "glasses", "sunglasses"]

# Thickness on the crown, m; half of it to twice of it by hair_volume.
_HAIR_THICKNESS_M = {
    "receding": 0.005, "short": 0.011, "parted": 0.016, "curly": 0.022, "afro": 0.05, "bob": 0.014, "long": 0.012,
    "ponytail": 0.007, "bun": 0.007,
}  # fmt: skip
_UNDER_HAT_M = 0.004


def scalp_field(figure: Mannequin, kind: HairKind, fringe: float) -> np.ndarray | None:
    """Where hair grows or hangs [V], negative inside, m; None for nowhere.

    Args:
        fringe: how far it hangs into the forehead: 0 not at all, 1 to the brows.
    """
    if kind == "bald":
        return None
    regions = figure.regions
    if kind == "receding":
        crown = np.clip(1 - regions.polar / 0.55, 0, 1)
        return regions.scalp + 0.05 * regions.temples + 0.028 * crown
    if kind in ("buzz", "afro"):
        return regions.scalp
    return regions.scalp - 0.036 * fringe * regions.fringe


def hair_pieces(
    figure: Mannequin, kind: HairKind, volume: float, length: float, fringe: float, hat: HatKind
) -> list[Piece]:
    """All hair of the head but brows and beard. Under a hat it lies flat, and only what the hat leaves free is made."""
    if kind in ("bald", "buzz"):
        return []
    field = scalp_field(figure, kind, fringe)
    thickness = _HAIR_THICKNESS_M[kind] * within((0.6, 1.7), volume) * figure.head_scale
    pieces = [_cap_of_hair(figure, kind, field, thickness, hat)]
    if kind in ("bob", "long"):
        pieces.append(_hanging_hair(figure, kind, thickness, length, hat))
    elif kind == "ponytail":
        pieces.append(_ponytail(figure, length))
    elif kind == "bun" and hat == "none":
        pieces.append(_bun(figure, volume))
    return pieces


def brows(figure: Mannequin, heaviness: float) -> Piece:
    """Two bands over the eyes that follow the skin, thicker in their middle."""
    ribbon = figure.regions.brows
    on_skin = (ribbon.weight[..., None] * figure.vertices[ribbon.vertex]).sum(1)
    wider = within((0.6, 1.35), heaviness) - 1
    middle = np.abs(ribbon.upwards) < 1e-9
    outwards = np.where(middle, 0.0022, 0.0008)
    points = on_skin + figure.head_scale * (ribbon.off + np.stack([0 * outwards, -outwards, wider * ribbon.upwards], 1))
    half = len(points) // 2
    faces = grid_faces(3, half // 3)
    # Rows go upwards and columns outwards, which faces forwards on the left and backwards on the right.
    faces = np.concatenate([faces[:, ::-1], faces + half])
    piece = plain_piece("brows", points, faces, figure.rigid("head", len(points)))
    return replace(piece, source=ribbon.vertex[:, 0].astype(np.int32))


def beard(figure: Mannequin, kind: BeardKind, volume: float) -> Piece:
    """A beard with some thickness, thin at its edges."""
    field = {"moustache": figure.regions.moustache, "goatee": figure.regions.goatee, "full": figure.regions.beard}[kind]
    full = np.clip(-field / 0.012, 0, 1)
    offset = figure.head_scale * (
        0.001 + within((0.002, 0.014), volume) * full * (1 + 0.3 * ripple(3 * figure.vertices))
    )
    return shell(figure, "hair", _head_faces(figure.body), field, offset)


def hat_piece(figure: Mannequin, kind: HatKind, hair: HairKind) -> tuple[Piece, np.ndarray]:
    """A hat, and the body's vertices [V] under it."""
    eye, ear = figure.keypoints["left_eye"], figure.keypoints["left_ear"]
    _, y, z = figure.vertices.T
    size = figure.head_scale
    brow, side = {
        "beanie": (0.048, 0.012),
        "cap": (0.052, 0.03),
        "bucket": (0.05, 0.028),
        "brimmed": (0.05, 0.03),
        "helmet": (0.058, 0.018),
    }[kind]
    front_z, ear_z = eye[2] + brow * size, ear[2] + side * size
    line_z = ear_z + (front_z - ear_z) * (y - ear[1]) / (eye[1] - ear[1])
    field = np.where(figure.regions.head > 0.5, line_z - z, NOWHERE)
    height = np.clip(-field / (0.1 * size), 0, 1)
    below = 0.0 if hair in ("bald", "buzz") else _UNDER_HAT_M * size
    rise = {"beanie": 0.012, "cap": 0.008, "bucket": 0.014, "brimmed": 0.014, "helmet": 0.024}[kind]
    offset = below + size * (0.005 + rise * np.sin(height * np.pi / 2))
    if kind == "beanie":
        offset += size * np.where(-field < 0.035 * size, 0.004, 0.0)  # the turned-up cuff
    piece = shell(figure, "hat", _head_faces(figure.body), field, offset)
    piece = _with_lip(piece, size * (0.004 if kind != "helmet" else 0.012))
    if kind == "cap":
        piece = _joined(piece, _peak(figure, front_z))
    elif kind in ("bucket", "brimmed"):
        piece = _joined(
            piece,
            _brim(
                figure,
                piece,
                ear_z,
                front_z,
                drop=0.9 if kind == "bucket" else 0.15,
                reach=0.045 if kind == "bucket" else 0.075,
            ),
        )
    return piece, field < -0.012


def glasses(figure: Mannequin, kind: GlassesKind, round_lenses: float) -> list[Piece]:
    """Frames before the eyes with temples to the ears; sunglasses have dark lenses as well."""
    size = figure.head_scale
    eyes, ears = ([figure.keypoints[f"{side}_{what}"] for side in ("left", "right")] for what in ("eye", "ear"))
    bridge_y = min(eye[1] for eye in eyes) - 0.016 * size
    tubes, lenses = [], []
    columns = 24
    angle = np.arange(columns) * 2 * np.pi / columns
    for sign, eye, ear in zip((1, -1), eyes, ears, strict=True):
        power = within((0.55, 1.0), round_lenses)
        u = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * within((0.026, 0.023), round_lenses) * size
        v = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * within((0.016, 0.022), round_lenses) * size
        centre = np.array([eye[0] + 0.001 * sign * size, bridge_y, eye[2] - 0.004 * size])
        wrap = 0.10 * (u * sign) + 1.2 * np.clip(u * sign, 0, None) ** 2 / size
        ring = centre + np.stack([u, wrap, v], 1)
        tubes.append(_tube(ring, 0.0019 * size, closed=True))
        if kind == "sunglasses":
            lenses.append(
                np.concatenate([ring, 0.5 * (ring + ring.mean(0)), np.repeat(ring.mean(0)[None], columns, 0)])
            )
        hinge = centre + np.array([sign * 0.027 * size, 0.006 * size, 0.006 * size])
        behind = ear + np.array([sign * 0.001 * size, 0.012 * size, 0.022 * size])
        tubes.append(
            _tube(
                np.stack([hinge, 0.5 * (hinge + behind) + [sign * 0.004 * size, 0, 0.002 * size], behind]),
                0.0017 * size,
            )
        )
    inner = [eyes[0][0] - 0.022 * size, eyes[1][0] + 0.022 * size]
    bridge_z = eyes[0][2] + 0.002 * size
    bridge = np.array(
        [
            [inner[0], bridge_y, bridge_z],
            [0, bridge_y - 0.003 * size, bridge_z + 0.004 * size],
            [inner[1], bridge_y, bridge_z],
        ]
    )
    tubes.append(_tube(bridge, 0.0018 * size))
    points, faces, start = [], [], 0
    for tube_points, tube_faces in tubes:
        points.append(tube_points)
        faces.append(tube_faces + start)
        start += len(tube_points)
    for lens in lenses:
        points.append(lens)
        faces.append(grid_faces(3, columns, closed=True) + start)
        start += len(lens)
    points = np.concatenate(points)
    return [plain_piece("glasses", points, np.concatenate(faces), figure.rigid("head", len(points)))]


def _cap_of_hair(figure: Mannequin, kind: HairKind, field: np.ndarray, thickness: float, hat: HatKind) -> Piece:
    """Hair on the scalp: thin at the hairline, full a few centimetres inside it, shaped by its cut."""
    size = figure.head_scale
    polar = figure.regions.polar
    depth = np.clip(-field / (0.03 * size), 0, 1) ** 0.8
    at = figure.body.template
    match kind:
        case "parted":  # a parting on the left, hair combed over to the right
            part_x = at[:, 0] - 0.028
            combed = 1 + 0.55 * np.clip(-part_x / 0.06, -0.4, 1) - 0.75 * np.exp(-0.5 * (part_x / 0.007) ** 2)
            shaped = depth * np.where(polar < 1.3, combed, 0.55) + 0.06 * ripple(at * [0.8, 0.8, 0.25])
        case "curly":
            shaped = depth * (1 + 0.42 * ripple(1.9 * at))
        case "afro":
            shaped = depth**0.6 * (1 + 0.1 * ripple(2.3 * at))
        case "short":  # shorter at the sides and the nape
            shaped = (
                depth * (0.5 + 0.6 * np.clip((1.45 - polar) / 0.6, 0, 1)) * (1 + 0.22 * ripple(at * [1.2, 1.2, 0.5]))
            )
        case _:
            shaped = depth * (1 + 0.1 * ripple(at * [0.7, 0.7, 0.25]))
    offset = size * 0.0012 + thickness * shaped
    if hat != "none":
        offset = np.minimum(offset, size * (0.0012 + _UNDER_HAT_M * depth))
    piece = shell(figure, "hair", _head_faces(figure.body), field, np.maximum(offset, 0.0008))
    return replace(piece, place=_combed(figure, piece.rest), source=np.full(len(piece.rest), -1, np.int32))


def _combed(figure: Mannequin, points: np.ndarray) -> np.ndarray:
    """Where points lie in a fabric of strands that run down from the crown: strands along z, m."""
    centre = figure.head_top - np.array([0, -0.03, 0.1]) * figure.head_scale
    away = points - centre
    flat = np.hypot(away[:, 0], away[:, 1]) + 1e-6
    polar = np.arctan2(flat, away[:, 2])
    return np.stack([0.09 * away[:, 0] / flat, 0.09 * away[:, 1] / flat, 0.09 * polar], 1).astype(np.float32)


def _hanging_hair(figure: Mannequin, kind: HairKind, hair_m: float, length: float, hat: HatKind) -> Piece:
    """A curtain around the back of the head that leaves the face free and lies on the shoulders.

    A grid of rows downwards and columns from the right temple around the back to the left. It hangs from the scalp's
    hair; below the neck it narrows to the back, stays outside the trunk and follows the spine more than the head.
    """
    neck, chest_z, ear = figure.head("neck01"), figure.head("spine01")[2], figure.keypoints["left_ear"]
    scale = figure.head_scale
    ends = (ear[2] - 0.05 * scale, neck[2]) if kind == "bob" else (neck[2] - 0.04 * scale, chest_z - 0.1 * figure.scale)
    end_z = within(ends, length)
    start_z = ear[2] + 0.45 * (figure.head_top[2] - ear[2])
    rows, columns = 16, 41
    down = np.linspace(0, 1, rows)[:, None]
    across = np.linspace(-1, 1, columns)[None]
    scalp = figure.vertices[figure.regions.scalp < 0]
    scalp = scalp[scalp[:, 2] < ear[2] + 0.07 * scale]
    centre_y = (scalp[:, 1].max() + ear[1]) / 2 - 0.01 * scale
    thickness = hair_m * (0.8 if hat == "none" else 0.4)
    half_width = np.abs(scalp[:, 0]).max() + thickness
    half_depth = scalp[:, 1].max() - centre_y + thickness

    ends_z = end_z + 0.012 * scale * np.sin(9 * across + 2) + 0.03 * scale * across**2
    z = start_z + down * (ends_z - start_z)
    below_neck = np.clip((neck[2] + 0.03 * scale - z) / (0.1 * scale), 0, 1)
    angle = across * np.radians(118 - 50 * below_neck)
    # The curtain starts inside the scalp's hair and comes out of it; locks part it.
    girth = (1 - 0.25 * np.clip(1 - down / 0.3, 0, 1) ** 2) * (
        1
        + 0.035 * np.sin(across * 23 + 2 * np.sin(5 * across)) * down
        + 0.05 * ripple(np.stack([angle, 0 * angle, z / scale * 0.3], -1))
    )
    x = half_width * girth * np.sin(angle) * (1 - 0.1 * below_neck)
    y = centre_y + half_depth * girth * np.cos(angle)
    y = np.maximum(y, _back_y(figure, x, z) + 0.018 * scale)
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    on_spine = (0.8 * np.clip((neck[2] - z) / (neck[2] - chest_z), 0, 1)).reshape(-1, 1)
    weights = (1 - on_spine) * figure.rigid("head", len(points)) + on_spine * figure.rigid("spine01", len(points))
    place = np.stack([0.1 * angle + 0 * z, np.zeros_like(z), z], -1).reshape(-1, 3).astype(np.float32)
    return replace(plain_piece("hair", points, grid_faces(rows, columns), weights), place=place)


def _back_y(figure: Mannequin, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How far back the trunk reaches around each point (x, z); -inf where there is none within 3 cm."""
    reach = 0.03 * figure.scale
    trunk = figure.points[(figure.cloth.arm < 0.5) & (figure.points[:, 2] > z.min() - reach)]
    near = (np.abs(x[..., None] - trunk[:, 0]) < reach) & (np.abs(z[..., None] - trunk[:, 2]) < reach)
    return np.where(near, trunk[:, 1], -np.inf).max(-1)


def _ponytail(figure: Mannequin, length: float) -> Piece:
    """Gathered at the back of the head, hanging behind the neck."""
    size, ear = figure.head_scale, figure.keypoints["left_ear"]
    scalp = figure.vertices[figure.regions.scalp < 0]
    root = np.array([0, scalp[:, 1].max() - 0.002 * size, ear[2] + 0.055 * size])
    end_z = within((ear[2] - 0.07 * size, figure.head("spine01")[2]), length)
    rows = 14
    down = np.linspace(0, 1, rows)
    bulge = 0.035 * np.sin(np.pi * np.clip(down * 1.6, 0, 1) / 2) - 0.012 * down
    y = root[1] + size * bulge
    z = root[2] + size * 0.012 * np.sin(np.pi * down) - down * (root[2] - end_z)
    path = np.stack([0.004 * size * np.sin(6 * down), y, z], 1)
    behind = _back_y(figure, path[None, :, 0], path[None, :, 2])[0]
    path[:, 1] = np.maximum(path[:, 1], behind + 0.022 * figure.scale)
    radius = size * (0.008 + 0.02 * np.sin(np.pi * np.clip(down * 0.9 + 0.06, 0, 1)) ** 0.7)
    points, faces = _tube(path, radius, sides=10)
    on_spine = np.repeat(0.7 * np.clip((figure.head("neck01")[2] - path[:, 2]) / (0.15 * figure.scale), 0, 1), 10)[
        :, None
    ]
    weights = (1 - on_spine) * figure.rigid("head", len(points)) + on_spine * figure.rigid("spine01", len(points))
    return plain_piece("hair", points, faces, weights)


def _bun(figure: Mannequin, volume: float) -> Piece:
    """A knot on the back of the crown."""
    size = figure.head_scale
    centre = figure.head_top + size * np.array([0, 0.075, -0.03])
    rows, columns = 9, 14
    polar = np.linspace(0, np.pi, rows)[:, None]
    azimuth = np.arange(columns) * 2 * np.pi / columns
    sphere = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar) * np.ones(columns)], -1
    )
    radius = within((0.024, 0.042), volume) * size * (1 + 0.08 * np.sin(3 * azimuth + 4 * polar))[..., None]
    points = (centre + radius * sphere).reshape(-1, 3)
    return plain_piece("hair", points, grid_faces(rows, columns, closed=True), figure.rigid("head", len(points)))


def _peak(figure: Mannequin, front_z: float) -> Piece:
    """A cap's visor: an arc from temple to temple, three rings forwards."""
    size = figure.head_scale
    brow_y = float(figure.keypoints["left_eye"][1])
    angles = np.linspace(-1.25, 1.25, 15)
    rings = []
    for ring, reach in enumerate((0.0, 0.5, 1.0)):
        forward = (0.082 + 0.062 * reach) * size
        x = 0.074 * size * (1 + 0.08 * reach) * np.sin(angles)
        y = brow_y + 0.048 * size - forward * np.cos(angles)
        z = front_z + size * (0.012 - 0.008 * ring - 0.014 * np.sin(angles) ** 2 * (0.6 + 0.4 * reach))
        rings.append(np.stack([x, y, z], 1))
    points = np.concatenate(rings)
    below = points - [0, 0, 0.003 * size]
    faces = grid_faces(3, 15)
    edge = np.arange(30, 45)
    rim = np.stack([edge[:-1], edge[:-1] + 45, edge[1:] + 45, edge[1:]], 1)
    return plain_piece(
        "hat",
        np.concatenate([points, below]),
        np.concatenate([faces, faces[:, ::-1] + 45, rim]),
        figure.rigid("head", 90),
    )


def _brim(figure: Mannequin, crown: Piece, ear_z: float, front_z: float, drop: float, reach: float) -> Piece:
    """A brim all round: `reach` wide, falling by `drop` of that."""
    size, columns = figure.head_scale, 36
    angle = np.arange(columns) * 2 * np.pi / columns
    directions = np.stack([np.sin(angle), -np.cos(angle)], 1)
    low = crown.vertices[crown.rest[:, 2] < max(ear_z, front_z) + 0.03 * size, :2]
    centre = (low.min(0) + low.max(0)) / 2
    radius = ((low - centre) @ directions.T).max(0)
    tilt = (front_z - ear_z) / 0.09 / size
    rings = []
    for out in (-0.004, 0.5 * reach, reach, reach):
        xy = centre + (radius + out * size)[:, None] * directions
        z = ear_z + 0.018 * size - tilt * 0.6 * (xy[:, 1] - centre[1] - 0.02 * size) - drop * max(out, 0) * size
        rings.append(np.column_stack([xy, z]))
    rings[3] = rings[3] - [0, 0, 0.003 * size]
    points = np.concatenate([*rings, rings[0] - [0, 0, 0.004 * size]])
    return plain_piece("hat", points, grid_faces(5, columns, closed=True), figure.rigid("head", len(points)))


def _with_lip(piece: Piece, depth_m: float) -> Piece:
    """Turn a hat's rim inwards."""
    edges = rim_edges(piece.faces)
    rim, flat = np.unique(edges, return_inverse=True)
    inwards = piece.rest[rim] - piece.vertices[rim]
    length = np.linalg.norm(inwards, axis=1, keepdims=True)
    turned = piece.vertices[rim] + inwards * np.minimum(1, depth_m / np.maximum(length, 1e-6))
    start, end = (flat.reshape(-1, 2) + len(piece.vertices)).T
    lip = plain_piece(piece.part, turned, np.zeros((0, 4), np.int32), piece.weights[rim])
    faces = np.stack([edges[:, 1], edges[:, 0], start, end], 1).astype(np.int32)
    joined = _joined(piece, lip)
    return replace(joined, faces=np.concatenate([piece.faces, faces]))


def _joined(first: Piece, second: Piece) -> Piece:
    """Two pieces of one part as one."""
    return Piece(
        first.part,
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("rest", "vertices", "weights")),
        np.concatenate([first.faces, second.faces + len(first.vertices)]),
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("place", "tint", "source")),
    )


def _tube(
    path: np.ndarray, radius: float | np.ndarray, closed: bool = False, sides: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """A tube along a path [N,3]: points [N*sides,3] and quads."""
    path = np.asarray(path, np.float64)
    along = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    aside = np.cross(along, [0.12, 0.99, 0.07])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    up = np.cross(along, aside)
    angle = np.arange(sides) * 2 * np.pi / sides
    radius = np.broadcast_to(radius, len(path))[:, None, None]
    ring = radius * (np.cos(angle)[None, :, None] * aside[:, None] + np.sin(angle)[None, :, None] * up[:, None])
    points = (path[:, None] + ring).reshape(-1, 3)
    faces = grid_faces(len(path), sides, closed=True)
    if closed:
        last = np.arange(sides) + (len(path) - 1) * sides
        first = np.arange(sides)
        faces = np.concatenate(
            [faces, np.stack([last, first, np.roll(first, -1), np.roll(last, -1)], 1).astype(np.int32)]
        )
    return points, faces


@lru_cache(maxsize=2)
def _head_faces(body: HumanBody) -> np.ndarray:
    """The body's faces on head and neck."""
    head = body.bone_weights[:, [body.bone(name) for name in ("neck02", "neck03", "head")]].sum(1)
    faces = body.faces["body"]
    return faces[(head[faces] > 0.25).all(1)]
