"""Cloth over a body at rest: landmarks, the tights that garments are cut from, pieces with hems and a fabric's layout.

Conventions: rest pose, metres, z up, facing -y. A garment is where a field over the tights' vertices is negative;
fields are in metres. Every piece carries skinning weights, so clothes follow shape and pose by themselves.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from synthgen.subjects.mesh import cut, rim_edges, ripple, vertex_normals
from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.regions import Regions, body_regions

LAYER_M = 0.004  # the smallest distance that keeps two layers apart at the mesh's own coarseness
NOWHERE = 0.1  # a field's value where there is no garment
_PANELS = 6  # front, back, left arm, right arm, left leg, right leg
_ARM_RADIUS_M, _LEG_RADIUS_M = 0.05, 0.08
_UNDER_M = 0.03


@dataclass(frozen=True, eq=False)
class Piece:
    """One garment as a mesh of its own.

    Attributes:
        rest: [N,3] where its points lie on the body. vertices: [N,3] where the cloth lies. weights: [N,B].
        faces: [F,4]. place: [N,3] where each vertex lies in the fabric, m. tint: [N,3] factor on the linear colour.
        source: [N] vertex of the body that it moves with in a facial expression, or -1.
    """

    part: str
    rest: np.ndarray
    vertices: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    place: np.ndarray
    tint: np.ndarray
    source: np.ndarray


@dataclass(frozen=True, eq=False)
class Cloth:
    """The tights of any body: what depends on the mesh alone. T vertices, F faces.

    Attributes:
        index: [T] of their vertices in the body. faces: [F,4] into these T. weights: [T,B].
        arm, leg, head: [T] share of the skinning weights. corner_panel: [F,4] panel of each face's corner, twice as
            many as panels, the second half for corners beyond a limb's seam. layout: [2*_PANELS,T,2] place in each
            panel, m.
        over: [V] of each body vertex: the nearest of the T. under: [V] whether that is near enough for cloth there
            to cover it: heads and hands have no tights.
    """

    index: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    head: np.ndarray
    corner_panel: np.ndarray
    layout: np.ndarray
    over: np.ndarray
    under: np.ndarray


@dataclass(frozen=True, eq=False)
class Mannequin:
    """A shaped body to be dressed.

    Attributes:
        vertices: [V,3]; heads: [B,3]; keypoints: surface points by name. regions: of the body.
        cloth, points [T,3], normals [T,3], along_arm [T]: its tights; along_arm is the distance from the shoulder, m,
            -0.1 on the trunk.
        scale: height relative to 1.7 m; head_scale: size of the head relative to the neutral body's.
        ground_z: of the soles.
    """

    body: HumanBody
    vertices: np.ndarray
    heads: np.ndarray
    keypoints: dict[str, np.ndarray]
    regions: Regions
    cloth: Cloth
    points: np.ndarray
    normals: np.ndarray
    along_arm: np.ndarray
    scale: float
    head_scale: float
    ground_z: float
    head_top: np.ndarray

    def head(self, bone: str) -> np.ndarray:
        return self.heads[self.body.bone(bone)]

    @property
    def waist_z(self) -> float:
        return float(self.head("spine04")[2] + 0.02 * self.scale)

    @property
    def arm_length(self) -> float:
        shoulder, elbow, wrist = (self.head(f"{bone}.L") for bone in ("upperarm01", "lowerarm01", "wrist"))
        return float(np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow))

    def rigid(self, bone: str, count: int) -> np.ndarray:
        """Weights [count,B] of points that follow one bone."""
        weights = np.zeros((count, len(self.heads)), np.float32)
        weights[:, self.body.bone(bone)] = 1
        return weights


def measure(body: HumanBody, vertices: np.ndarray, heads: np.ndarray) -> Mannequin:
    """Landmarks of a shaped body."""
    cloth = _cloth(body)
    points = vertices[cloth.index]
    keypoints = {name: weight @ vertices[index] for name, (index, weight) in body.keypoints.items()}
    skin = _skin_vertices(body)
    heights = vertices[skin, 2]
    head_top, ground_z = vertices[skin[heights.argmax()]], float(heights.min())
    return Mannequin(
        body=body,
        vertices=vertices,
        heads=heads,
        keypoints=keypoints,
        regions=body_regions(body),
        cloth=cloth,
        points=points,
        normals=vertex_normals(points, cloth.faces),
        along_arm=_along_arm(body, cloth, points, heads),
        scale=float(head_top[2] - ground_z) / 1.7,
        head_scale=head_scale(body, vertices),
        ground_z=ground_z,
        head_top=head_top,
    )


def head_scale(body: HumanBody, vertices: np.ndarray) -> float:
    """Size of the head relative to the neutral body's, by the distance between the ears."""

    def width(points: np.ndarray) -> float:
        left, right = (
            weight @ points[index] for index, weight in (body.keypoints["left_ear"], body.keypoints["right_ear"])
        )
        return float(np.linalg.norm(left - right))

    return width(vertices) / width(body.template)


def within(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def garment(
    figure: Mannequin, part: str, field: np.ndarray, offset: np.ndarray, thickness_m: float, folds_m: float = 0.0
) -> Piece:
    """Cut the tights where the field [T] is negative and push them outwards by the offset [T], with hems.

    Args:
        folds_m: height of the folds; they only stand out, so that they uncover nothing.
    """
    cloth = figure.cloth
    kept = (field[cloth.faces] < 0).any(1)
    if folds_m > 0:
        offset = offset + folds_m * np.clip(0.4 + ripple(figure.points * (0.55 / figure.scale)), 0, 1)
    pushed = figure.points + figure.normals * offset[:, None]
    carried = np.concatenate([figure.points, pushed, *(cloth.layout * figure.scale), cloth.weights], 1)
    carried, faces = cut(carried, cloth.faces[kept], field)
    carried, faces, panel = _along_seams(carried, faces, cloth.corner_panel[kept])
    layouts = carried[:, 6 : 6 + 4 * _PANELS].reshape(-1, 2 * _PANELS, 2)
    place = np.zeros((len(carried), 3), np.float32)
    place[:, :2] = layouts[np.arange(len(carried)), panel]
    piece = plain_piece(part, carried[:, 3:6], faces, carried[:, 6 + 4 * _PANELS :])
    return _hemmed(replace(piece, rest=carried[:, :3], place=place), thickness_m)


def shell(figure: Mannequin, part: str, faces: np.ndarray, field: np.ndarray, offset: np.ndarray) -> Piece:
    """Cut faces [F,4] of the body where a field [V] is negative and push them outwards by the offset [V]."""
    faces = faces[(field[faces] < 0).any(1)]
    used, flat = np.unique(faces, return_inverse=True)
    faces = flat.reshape(faces.shape)
    rest = figure.vertices[used]
    pushed = rest + vertex_normals(rest, faces) * offset[used, None]
    carried = np.concatenate([rest, pushed, figure.body.bone_weights[used]], 1)
    kept = np.unique(faces[(field[used][faces] < 0).any(1)])
    carried, faces = cut(carried, faces, field[used])
    piece = plain_piece(part, carried[:, 3:6], faces, carried[:, 6:])
    return replace(piece, rest=carried[:, :3], place=carried[:, :3], source=used[kept].astype(np.int32))


def plain_piece(part: str, vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray) -> Piece:
    """A piece that lies where it is drawn, of one colour."""
    vertices = np.ascontiguousarray(vertices, np.float32)
    ones = np.ones((len(vertices), 3), np.float32)
    nothing = np.full(len(vertices), -1, np.int32)
    return Piece(part, vertices, vertices, weights.astype(np.float32), faces.astype(np.int32), vertices, ones, nothing)


def nearest_weights(figure: Mannequin, points: np.ndarray) -> np.ndarray:
    """Skinning weights [N,B] of the tights' vertices nearest to points [N,3]."""
    gap = ((points[:, None] - figure.points[None]) ** 2).sum(2)
    return figure.cloth.weights[gap.argmin(1)]


def covered(field: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Which of the tights' vertices [T] lie so deep under cloth that no opening shows them."""
    return field < -(0.015 + 1.2 * offset)


def _along_seams(carried: np.ndarray, faces: np.ndarray, corner_panel: np.ndarray) -> tuple:
    """Give each panel its own vertices, as sewn clothes have; returns vertices, faces and each vertex's panel."""
    key = faces.astype(np.int64) * (2 * _PANELS) + corner_panel
    unique, flat = np.unique(key, return_inverse=True)
    vertex, panel = np.divmod(unique, 2 * _PANELS)
    return carried[vertex], flat.reshape(faces.shape).astype(np.int32), panel


def _hemmed(piece: Piece, thickness_m: float) -> Piece:
    """Turn the cloth's free edges inwards by its thickness, so that it does not look cut from paper."""
    edges = _free_edges(piece)
    rim, flat = np.unique(edges, return_inverse=True)
    inwards = piece.rest[rim] - piece.vertices[rim]
    depth = np.linalg.norm(inwards, axis=1, keepdims=True)
    turned = piece.vertices[rim] + inwards * np.minimum(1, 1.6 * thickness_m / np.maximum(depth, 1e-6))
    start, end = (flat.reshape(-1, 2) + len(piece.vertices)).T
    faces = np.stack([edges[:, 1], edges[:, 0], start, end], 1).astype(np.int32)
    return Piece(
        piece.part,
        np.concatenate([piece.rest, piece.rest[rim]]),
        np.concatenate([piece.vertices, turned.astype(np.float32)]),
        np.concatenate([piece.weights, piece.weights[rim]]),
        np.concatenate([piece.faces, faces]),
        np.concatenate([piece.place, piece.place[rim]]),
        np.concatenate([piece.tint, 0.6 * piece.tint[rim]]),
        np.concatenate([piece.source, piece.source[rim]]),
    )


def _free_edges(piece: Piece) -> np.ndarray:
    """Edges [N,2] at the piece's openings; seams between panels, where vertices coincide, are none."""
    _, same = np.unique(np.round(piece.vertices * 1e5).astype(np.int64) @ [1, 1 << 20, 1 << 40], return_inverse=True)
    edges = rim_edges(piece.faces)
    joined = same[edges].astype(np.int64)
    size = len(piece.vertices)
    seam = np.isin(joined[:, 1] * size + joined[:, 0], joined[:, 0] * size + joined[:, 1])
    return edges[~seam]


@lru_cache(maxsize=2)
def _skin_vertices(body: HumanBody) -> np.ndarray:
    return np.unique(body.faces["body"])


@lru_cache(maxsize=2)
def _cloth(body: HumanBody) -> Cloth:
    faces = body.faces["tights"]
    index, flat = np.unique(faces, return_inverse=True)
    faces = flat.reshape(faces.shape).astype(np.int32)
    weights = np.ascontiguousarray(body.bone_weights[index])

    def share(*prefixes: str) -> np.ndarray:
        return weights[:, [k for k, name in enumerate(body.bone_names) if name.startswith(prefixes)]].sum(1)

    arm = share("upperarm", "lowerarm", "wrist", "metacarpal", "finger")
    leg = share("upperleg", "lowerleg", "foot", "toe")
    points = body.template[index].astype(np.float64)
    corner_panel, layout = _layout(body, points, faces, arm, leg)
    over = np.searchsorted(index, body.tights_over).astype(np.int32)
    under = np.linalg.norm(body.template - points[over], axis=1) < _UNDER_M
    return Cloth(index, faces, weights, arm, leg, share("head", "neck03"), corner_panel, layout, over, under)


def _layout(
    body: HumanBody, points: np.ndarray, faces: np.ndarray, arm: np.ndarray, leg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How fabric lies on the body: planar on front and back, rolled round each limb; see Cloth."""
    layout = np.zeros((2 * _PANELS, len(points), 2), np.float32)
    x, _, z = points.T
    layout[0] = np.stack([1.1 * x, z], 1)
    layout[1] = np.stack([0.5 - 1.1 * x, z], 1)
    middle = points[faces].mean(1)
    panel = np.where(middle[:, 1] < _side_y(points, faces, arm, leg), 0, 1)
    for number, (side, sign) in enumerate((("L", 1), ("R", -1))):
        shoulder, wrist = (body.head_template[body.bone(f"{bone}.{side}")] for bone in ("upperarm01", "wrist"))
        layout[2 + number] = _rolled(points, shoulder, wrist, _ARM_RADIUS_M, seam=np.array([-sign, 0.0, -0.6]))
        panel[(arm[faces].mean(1) > 0.5) & (middle[:, 0] * sign > 0)] = 2 + number
        hip, ankle = (body.head_template[body.bone(f"{bone}.{side}")] for bone in ("upperleg01", "foot"))
        layout[4 + number] = _rolled(points, hip, ankle, _LEG_RADIUS_M, seam=np.array([-sign, 0.0, 0.0]))
        panel[(leg[faces].mean(1) > 0.5) & (middle[:, 2] < hip[2] - 0.02) & (middle[:, 0] * sign > 0)] = 4 + number
    radius = np.array([0, 0, _ARM_RADIUS_M, _ARM_RADIUS_M, _LEG_RADIUS_M, _LEG_RADIUS_M])
    layout[_PANELS:] = layout[:_PANELS] + np.stack([2 * np.pi * radius, np.zeros(_PANELS)], 1)[:, None]
    u = layout[panel[:, None], faces, 0]
    beyond = (u.max(1, keepdims=True) - u > np.pi * radius[panel][:, None]) & (panel[:, None] >= 2)
    return (panel[:, None] + _PANELS * beyond).astype(np.int64), layout


def _side_y(points: np.ndarray, faces: np.ndarray, arm: np.ndarray, leg: np.ndarray) -> np.ndarray:
    """Depth [F] of the side seam at each face's height: half way through the trunk."""
    trunk = points[(arm < 0.2) & (leg < 0.9)]
    levels = np.linspace(trunk[:, 2].min(), trunk[:, 2].max(), 24)
    middles = [
        (lambda near: (near.min() + near.max()) / 2)(trunk[np.abs(trunk[:, 2] - level) < 0.06, 1]) for level in levels
    ]
    return np.interp(points[faces].mean(1)[:, 2], levels, middles)


def _rolled(points: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float, seam: np.ndarray) -> np.ndarray:
    """Place [T,2] on a cylinder round a limb: along its girth from the seam, and along its axis."""
    axis = (end - start) / np.linalg.norm(end - start)
    seam = seam - (seam @ axis) * axis
    seam /= np.linalg.norm(seam)
    away = points - start
    angle = np.arctan2(away @ np.cross(axis, seam), -(away @ seam))
    return np.stack([radius * angle, -(away @ axis)], 1)


def _along_arm(body: HumanBody, cloth: Cloth, points: np.ndarray, heads: np.ndarray) -> np.ndarray:
    along = np.full(len(points), -0.1)
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, elbow, wrist = (heads[body.bone(f"{bone}.{side}")] for bone in ("upperarm01", "lowerarm01", "wrist"))
        upper, lower = elbow - shoulder, wrist - elbow
        upper_m, lower_m = np.linalg.norm(upper), np.linalg.norm(lower)
        distance = np.minimum((points - shoulder) @ upper / upper_m, upper_m)
        distance = distance + np.maximum((points - elbow) @ lower / lower_m, 0)
        along = np.where(points[:, 0] * sign > 0, cloth.arm * distance - 0.1 * (1 - cloth.arm), along)
    return along
