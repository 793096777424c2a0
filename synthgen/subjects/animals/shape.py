"""Builds: a base animal, stretched bone by bone and raised here and there, gives another species or another individual.

Conventions: metres, z up, facing -y, left at +x. Each bone is scaled along and across its own direction and carries the
next one; skin follows by the same blend as in posing. The feet stay level: legs are lengthened until fore and hind ones
reach the same ground.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.animals.bake import BASES
from synthgen.subjects.animals.contact import LimbSpheres, limb_spheres
from synthgen.subjects.animals.mouth import head_frame
from synthgen.subjects.animals.rig import BONE, BONES, MIRRORED, PARENTS, PART_NAMES, TAIL, AnimalBody
from synthgen.subjects.mesh import joint_depths, ripple, vertex_normals
from synthgen.subjects.skinning import skin

HOOFED = ("horse", "horse_white", "donkey", "cow", "bull", "deer", "stag", "alpaca")
"""Bases whose fore leg bends at the carpus, not at the elbow."""

# Joints of the skeleton `quadruped` that bones' heads tell, and how much of each; written for the left side. The rest
# are surface points. In hoofed bases the bone that the leg hangs by turns about the elbow: the point of the shoulder
# lies above and before that. The paw bone of the other packaged animals begins below the carpus; the dog's at it.
_JOINT_BONES = {
    "neck": {"neck1": 1.0}, "left_hip": {"thigh_L": 1.0}, "left_knee": {"shin_L": 1.0}, "left_stifle": {"shin_L": 1.0},
    "left_hock": {"cannon_L": 1.0},
}  # fmt: skip
_FORE_JOINT_BONES_OF_PAWED = {
    "left_shoulder": {"upper_arm_L": 1.0},
    "left_elbow": {"forearm_L": 1.0},
    "left_carpus": {"forearm_L": 0.18, "hand_L": 0.82},
}
_FORE_JOINT_BONES_OF_DOG = _FORE_JOINT_BONES_OF_PAWED | {"left_carpus": {"hand_L": 1.0}}
_FORE_JOINT_BONES_OF_HOOFED = {"left_elbow": {"upper_arm_L": 1.0}, "left_carpus": {"forearm_L": 1.0}}
_SHOULDER_OF_HOOFED = {"upper_arm_L": 0.75, "upper_arm_R": -0.25, "neck1": 0.9, "spine3": -0.4}
"""Where the point of the shoulder lies at rest, from bones' heads; the scapula carries it."""
# Surface points that lie inside: means of vertices all round.
_INNER = ("ear", "paw")
# Which bone each bone points to; the others point as their parent does.
_POINTS_TO = {
    "pelvis": "spine1", "spine1": "spine2", "spine2": "spine3", "spine3": "neck1", "neck1": "neck2", "neck2": "neck3",
    "neck3": "head", "upper_arm": "forearm", "forearm": "hand", "hand": "finger", "thigh": "shin", "shin": "cannon",
    "cannon": "foot", "ear1": "ear2", **dict(pairwise(TAIL)),
}  # fmt: skip
_FUR_SHARES = {
    "head": 0.25,
    "jaw": 0.15,
    "neck3": 0.7,
    "ear": 0.05,
    "finger": 0.15,
    "hand": 0.25,
    "toe": 0.1,
    "foot": 0.15,
}
_LEG_FUR = 0.8
_FOLDS_BELOW, _FOLD_ROUNDS = 0.75, 20
_TAIL_TAPER = (0.8, 1.0, 1.0, 0.9, 0.6, 0.2)  # how much of a tail's girth its bones take
_DEWCLAWS_HOOF = 0.02  # in heights of the withers: lower ends of hooves that an animal stands on


@dataclass(frozen=True)
class QuadrupedShape:
    """Build: factors on the base (1 leaves it as it is), and what is added to it (0 adds nothing).

    Attributes:
        base: which animal is stretched, of BASES.
        size: of the whole animal.
        leg_length, leg_girth, paw_size: of all four legs.
        trunk_length, trunk_girth, trunk_depth: of chest and loins: along, across, from back to belly.
        neck_length, neck_girth, head_size.
        muzzle_length, muzzle_width, muzzle_depth: of what lies before the eyes.
        tail_length, tail_girth, ear_length, ear_width, ear_thickness. A tail's end stays thinner than its root.
        horns: of horns or antlers that the base has; 0 takes them away. dewclaws, udder: likewise.
        ear_flop: 0 as the base's, 1 hanging. ear_back_deg: + lays the ears back along the neck.
        neck_raise_deg, tail_raise_deg: how the animal carries head and tail at rest, + upwards, from the base's way.
        hind_tuck_deg: + sets the hind feet further forward.
        hump, belly: 0..1, height of the withers' hump, fullness below.
        proboscis: 0..1, the upper lip as a hanging trunk. beard: 0..1, below the chin.
        coat_m: length of a shaggy coat at size 1, 0 to 0.05; legs and head have less of it.
        mane: 0..1: a lion's, or a higher crest where the base has a horse's. tail_tuft: 0..1.
    """

    base: str = "dog"
    size: float = 1.0
    leg_length: float = 1.0
    leg_girth: float = 1.0
    paw_size: float = 1.0
    trunk_length: float = 1.0
    trunk_girth: float = 1.0
    trunk_depth: float = 1.0
    neck_length: float = 1.0
    neck_girth: float = 1.0
    head_size: float = 1.0
    muzzle_length: float = 1.0
    muzzle_width: float = 1.0
    muzzle_depth: float = 1.0
    tail_length: float = 1.0
    tail_girth: float = 1.0
    ear_length: float = 1.0
    ear_width: float = 1.0
    ear_thickness: float = 1.0
    horns: float = 1.0
    dewclaws: float = 1.0
    udder: float = 1.0
    ear_flop: float = 0.0
    ear_back_deg: float = 0.0
    neck_raise_deg: float = 0.0
    tail_raise_deg: float = 0.0
    hind_tuck_deg: float = 0.0
    hump: float = 0.0
    belly: float = 0.0
    proboscis: float = 0.0
    beard: float = 0.0
    coat_m: float = 0.0
    mane: float = 0.0
    tail_tuft: float = 0.0

    def __post_init__(self) -> None:
        if self.base not in BASES:
            raise ValueError(f"QuadrupedShape.base={self.base!r}: choose one of {', '.join(BASES)}")
        for item in fields(self)[1:]:
            low, high = limits(item.name)
            value = getattr(self, item.name)
            if not low <= value <= high:
                raise ValueError(f"QuadrupedShape.{item.name}={value}: must lie in [{low}, {high}]")


_FACTOR_LIMITS = (0.3, 2.5)
_LIMITS = {
    "size": (0.1, 4), "ear_length": (0.2, 6), "ear_width": (0.2, 6), "horns": (0, 2), "dewclaws": (0, 2),
    "udder": (0, 2), "beard": (0, 1), "ear_flop": (0, 1), "ear_back_deg": (-30, 90),
    "neck_raise_deg": (-60, 60), "tail_raise_deg": (-150, 150), "hind_tuck_deg": (-30, 30), "hump": (0, 1),
    "belly": (0, 1), "proboscis": (0, 1), "coat_m": (0, 0.05), "mane": (0, 1), "tail_tuft": (0, 1),
}  # fmt: skip
ADDITIONS = (
    "ear_flop", "ear_back_deg", "neck_raise_deg", "tail_raise_deg", "hind_tuck_deg", "hump", "belly", "proboscis",
    "beard", "coat_m", "mane", "tail_tuft",
)  # fmt: skip
"""Attributes of a QuadrupedShape that are no factors."""
GROWTHS = ("horns", "dewclaws", "udder")
"""Factors that may be 0: who has none gets none."""


def limits(name: str) -> tuple[float, float]:
    """Least and greatest value of a QuadrupedShape's attribute."""
    return _LIMITS.get(name, _FACTOR_LIMITS)


@dataclass(frozen=True, eq=False)
class AnimalFigure:
    """Everything about one animal that its poses share.

    Attributes:
        vertices: [V,3] float32, m, at rest. weights: [V,B]. faces, face_parts, uv: as in AnimalBody.
        heads: [B,3] bone heads at rest, m.
        joint_from_points: [J,B+M] the skeleton's joints from bone heads and markers.
        markers: [M,3], marker_weights: [M,B]: of the coat's surface, and points of shoulders that are no bone's head.
        limb_radius_m: [J].
        coat_frame: [V,4], see the function `coat_frame`.
        fore, hind: vertices and weights of a sample of the fore and of the hind part that animals stand and lie on.
        neck, tail: the same of neck with head, and of the tail. paws: of the left and right fore and hind paws.
        spheres: of legs and head, which must not meet.
        hip_m: how high the hip is.
    """

    vertices: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    uv: np.ndarray | None
    heads: np.ndarray
    joint_from_points: np.ndarray
    markers: np.ndarray
    marker_weights: np.ndarray
    limb_radius_m: np.ndarray
    coat_frame: np.ndarray
    fore: tuple[np.ndarray, np.ndarray]
    hind: tuple[np.ndarray, np.ndarray]
    neck: tuple[np.ndarray, np.ndarray]
    tail: tuple[np.ndarray, np.ndarray]
    paws: tuple[tuple[np.ndarray, np.ndarray], ...]
    spheres: LimbSpheres
    hip_m: float


@lru_cache(maxsize=8)
def shape_animal(body: AnimalBody, shape: QuadrupedShape) -> AnimalFigure:
    """Stretch a base into a build."""
    frame = coat_frame(body)
    height_m = body.landmark_points["withers"][2]
    vertices = _reshape_head(body, shape, body.vertices.astype(np.float64))
    for part, factor in (("horns", shape.horns), ("hooves", shape.dewclaws), ("udder", shape.udder)):
        if factor != 1:
            vertices = _scale_growths(body, part, factor, vertices)
    vertices = _swell(body, shape, vertices, frame, height_m)
    normals = vertex_normals(vertices, body.faces).astype(np.float64)
    coat_m, mane = _coat(body, shape, frame, height_m)
    furry = vertices + normals * coat_m[:, None]
    legs = np.array([1.0, 1.0])
    for _ in range(3):
        maps = _bone_maps(body, shape, legs)
        heads = _carry_heads(body, maps)
        bare = skin(vertices.astype(np.float32), body.weights, body.heads, maps, heads)
        low, reach = _lowest(body, bare, heads)
        legs = legs * (1 + (low - low.min()) / reach)
    rest = skin(furry.astype(np.float32), body.weights, body.heads, maps, heads)
    rest = _without_folds(body, shape, rest)
    ground = np.array([0, 0, bare[:, 2].min()])
    bare, rest, heads = ((points - ground) * shape.size for points in (bare, rest, heads))
    bare, rest = bare.astype(np.float32), rest.astype(np.float32)
    joint_from_points, marker_vertices, on_surface = _joint_rows(body)
    shoulders, shoulder_weights = _shoulders(body.base, heads)
    markers = np.concatenate([rest[marker_vertices], shoulders])
    joints_rest = joint_from_points @ np.concatenate([heads, markers])
    radius = np.zeros(len(joints_rest))
    radius[~on_surface] = joint_depths(joints_rest[~on_surface], bare[::5])
    return AnimalFigure(
        vertices=rest,
        weights=body.weights,
        faces=body.faces,
        face_parts=_face_parts(body, shape, mane),
        uv=body.uv,
        heads=heads,
        joint_from_points=joint_from_points,
        markers=markers,
        marker_weights=np.concatenate([body.weights[marker_vertices], shoulder_weights]),
        limb_radius_m=radius,
        coat_frame=frame,
        paws=tuple(
            (rest[sample], body.weights[sample])
            for end in ("front", "back")
            for sample in (body.landmarks[f"left_{end}_paw"][::3], body.landmarks[f"right_{end}_paw"][::3])
        ),
        spheres=limb_spheres(body, bare, heads),
        hip_m=float(heads[BONE["thigh_L"], 2]),
        **{name: (rest[sample], body.weights[sample]) for name, sample in _samples(body).items()},
    )


def _face_parts(body: AnimalBody, shape: QuadrupedShape, mane: np.ndarray) -> np.ndarray:
    """[F] parts of a build's faces.

    Args:
        mane: [V] how much each vertex belongs to a mane or a tuft.
    """
    fur, of_mane, nose, mouth, udder = (PART_NAMES.index(name) for name in ("fur", "mane", "nose", "mouth", "udder"))
    parts = body.face_parts.copy()
    if not shape.udder:
        parts[parts == udder] = fur
    if shape.proboscis:  # the nose has become the trunk's tip, the palate its underside
        parts[parts == nose] = fur
        parts[(parts == mouth) & (body.weights[body.faces, BONE["head"]].min(1) > 0.9)] = fur
    parts[(parts == fur) & (mane[body.faces].mean(1) > 0.5)] = of_mane
    return parts


@lru_cache(maxsize=16)
def coat_frame(body: AnimalBody) -> np.ndarray:
    """Where each vertex lies on a normalised animal [V,4] float32, the same for every build of a base.

    Columns: `along`, -1 the tail's tip, 0 its root, 1 the shoulder, 2 the back of the head, 3 the nose; legs have the
    value of the trunk above them. `up`, -1 the belly's line, 0 half way, 1 the back's, over the trunk; on neck, head
    and tail likewise about their axis. `side`, -1 right to 1 left. `leg`, 0 off the legs and at their upper ends, 1
    at the ground.
    """
    points, weights = body.vertices.astype(np.float64), body.weights
    heads, marks = body.heads, body.landmark_points

    def share(*prefixes: str) -> np.ndarray:
        return weights[:, [k for k, name in enumerate(BONES) if name.startswith(prefixes)]].sum(1)

    rump_y, shoulder_y = marks["tail_root"][1], heads[BONE["spine3"], 1]
    trunk = np.clip((rump_y - points[:, 1]) / (rump_y - shoulder_y), 0, 1.15)
    neck = 1 + _along_line(points, heads[[BONE[n] for n in ("spine3", "neck1", "neck2", "neck3", "head")]])
    head = 2 + _along_line(points, np.array([heads[BONE["head"]], marks["nose"]]))
    tail = -_along_line(points, np.array([*heads[[BONE[name] for name in TAIL]], marks["tail_tip"]]))
    tail_share, neck_share, head_share = share("tail"), share("neck"), share("head", "jaw", "ear")
    trunk_share = np.clip(1 - tail_share - neck_share - head_share, 0, 1)
    along = trunk_share * trunk + neck_share * neck + head_share * head + tail_share * tail
    leg_share = share("upper_arm", "forearm", "hand", "finger", "thigh", "shin", "cannon", "foot", "toe")
    below_body = share("forearm", "hand", "finger", "shin", "cannon", "foot", "toe")
    is_horn = body.vertex_parts[:, PART_NAMES.index("horns")]
    up = _section_height(along, points[:, 2], (below_body < 0.3) & ~is_horn)
    half_width = np.abs(points[:, 0]).max()
    top_m = 0.5 * (heads[BONE["upper_arm_L"], 2] + heads[BONE["thigh_L"], 2])
    leg = _smooth(leg_share) * np.clip(1 - points[:, 2] / top_m, 0, 1)
    return np.stack([along, up, points[:, 0] / half_width, leg], 1).astype(np.float32)


def _along_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """[V] how far along a polyline [N,3] the nearest place is, 0..1."""
    steps = np.diff(line, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    along = np.clip(np.einsum("vni,ni->vn", points[:, None] - line[:-1], steps) / lengths**2, 0, 1)
    off = np.linalg.norm(points[:, None] - (line[:-1] + along[..., None] * steps), axis=2)
    nearest = off.argmin(1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return (starts[nearest] + along[np.arange(len(points)), nearest] * lengths[nearest]) / starts[-1]


def _section_height(along: np.ndarray, z: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[V] height within each section across the body, -1 lowest to 1 highest."""
    centres = np.linspace(-1, 3, 81)
    low, high = np.full(len(centres), np.nan), np.full(len(centres), np.nan)
    for number, centre in enumerate(centres):
        inside = counts & (np.abs(along - centre) < 0.06)
        if inside.any():
            low[number], high[number] = z[inside].min(), z[inside].max()
    known = ~np.isnan(low)
    low, high = (np.interp(along, centres[known], values[known]) for values in (low, high))
    return np.clip(2 * (z - low) / np.maximum(high - low, 1e-6) - 1, -1.5, 1.5)


def _reshape_head(body: AnimalBody, shape: QuadrupedShape, vertices: np.ndarray) -> np.ndarray:
    """Scale what lies before the eyes, and draw it out into a trunk."""
    marks = body.landmark_points
    eyes = 0.5 * (marks["left_eye"] + marks["right_eye"])
    nose = marks["nose"]
    forward = (nose - eyes) * [0, 1, 1]
    reach = np.linalg.norm(forward)
    forward /= reach
    upward = np.array([0, forward[2], -forward[1]])
    share = body.weights[:, [BONE["head"], BONE["jaw"]]].sum(1)
    away = vertices - eyes
    ahead = np.maximum(away @ forward, 0) / reach
    grip = share * _smooth(ahead / 0.5)
    # About the muzzle's own axis, which lies below the eyes.
    axis_drop = upward @ (nose - eyes) * np.clip(ahead, 0, 1)
    height = away @ upward - axis_drop
    moved = vertices + (share * ahead * reach * (shape.muzzle_length - 1))[:, None] * forward
    moved[:, 0] += grip * vertices[:, 0] * (shape.muzzle_width - 1)
    moved += (grip * height * (shape.muzzle_depth - 1))[:, None] * upward
    if shape.proboscis:
        jaw = body.weights[:, BONE["jaw"]]
        moved -= (0.4 * shape.proboscis * jaw * ahead * reach)[:, None] * forward
        tip = np.clip((ahead - 0.4) / 0.55, 0, 1.1) * body.weights[:, BONE["head"]]
        length_m = 0.68 * marks["withers"][2] * shape.proboscis
        # It begins along the muzzle, bends until it hangs, and curls forward a little at its end.
        along = np.linspace(0, 1.1, 67)
        slope = np.arctan2(-forward[2], -forward[1])
        hanging = np.radians(97) - 0.5 * np.maximum(along - 0.75, 0) / 0.35
        angle = slope + (hanging - slope) * _smooth(along / 0.4)
        path = np.cumsum(np.stack([-np.cos(angle), -np.sin(angle)], 1), 0) * (along[1] * length_m)
        shift = np.stack([np.interp(tip, along, axis) for axis in (path - path[0]).T], 1)
        turned = np.interp(tip, along, angle) - slope
        thin = 1 - 0.55 * shape.proboscis * np.minimum(tip, 1)
        # Each cross-section turns with the path about the muzzle's axis.
        local_up = (moved - eyes) @ upward - axis_drop
        sideways = moved[:, 0] * thin
        new_up = np.stack([np.sin(turned) * forward[1] + np.cos(turned) * upward[1],
                           np.sin(turned) * forward[2] + np.cos(turned) * upward[2]], 1)  # fmt: skip
        centre = moved[:, 1:] - local_up[:, None] * upward[1:]
        drawn = np.column_stack([sideways, centre + shift + (local_up * thin)[:, None] * new_up])
        moved = np.where(tip[:, None] > 0, drawn, moved)
    return moved


def _scale_growths(body: AnimalBody, part: str, factor: float, vertices: np.ndarray) -> np.ndarray:
    """Scale horns, antlers, dewclaws or an udder, each about where it leaves the body."""
    result = vertices.copy()
    for own, rim in _growths(body, part):
        root = vertices[rim].mean(0)
        result[own] = root + factor * (vertices[own] - root)
    return result


@lru_cache(maxsize=32)
def _growths(body: AnimalBody, part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices of each piece of a part, and those among them where it leaves the body."""
    number = PART_NAMES.index(part)
    of_part = body.faces[body.face_parts == number]
    if not len(of_part):
        return []
    edges = np.stack([of_part, np.roll(of_part, -1, axis=1)], -1).reshape(-1, 2).T
    size = len(body.vertices)
    _, piece = connected_components(coo_array((np.ones(edges.shape[1]), edges), (size, size)), directed=False)
    meets_others = np.delete(body.vertex_parts, number, axis=1).any(1)
    found = []
    for label in np.unique(piece[of_part]):
        own = np.flatnonzero(piece == label)
        if part == "hooves" and body.vertices[own, 2].min() < _DEWCLAWS_HOOF * body.landmark_points["withers"][2]:
            continue  # it stands on it
        rim = own[meets_others[own]]
        if not len(rim):  # a piece that reaches into the skull
            from_skull = np.linalg.norm(body.vertices[own] - body.heads[BONE["head"]], axis=1)
            rim = own[from_skull < from_skull.min() + 0.02]
        found.append((own, rim))
    return found


def _swell(
    body: AnimalBody, shape: QuadrupedShape, vertices: np.ndarray, frame: np.ndarray, height_m: float
) -> np.ndarray:
    """Hump over the withers, full belly, tuft at the tail's end."""
    along, up, _, leg = frame.T.astype(np.float64)
    result = vertices.copy()
    above = _smooth((up + 0.2) / 1.0)
    result[:, 2] += 0.14 * height_m * shape.hump * above * np.exp(-(((along - 0.95) / 0.28) ** 2)) * (1 - leg)
    below = _smooth((0.3 - up) / 1.0) * np.exp(-(((along - 0.5) / 0.3) ** 2)) * (1 - np.clip(3 * leg, 0, 1))
    result[:, 2] -= 0.1 * height_m * shape.belly * below
    result[:, 0] *= 1 + 0.25 * shape.belly * below
    if shape.beard:
        chin = _chin(body)
        result += (0.16 * height_m * shape.beard * chin)[:, None] * np.array([0, 0.15, -1.0])
    if shape.tail_tuft:
        tuft = np.exp(-(((along + 0.88) / 0.09) ** 2)) * (along < -0.5)
        normals = vertex_normals(vertices, body.faces)
        result += (0.045 * height_m * shape.tail_tuft * tuft)[:, None] * normals
    return result


def _chin(body: AnimalBody) -> np.ndarray:
    """[V] 0..1: how much each vertex belongs to the narrow lower end of the chin."""
    marks = body.landmark_points
    frame = head_frame(marks["left_eye"], marks["right_eye"], marks["nose"])
    ahead, _ = frame.coordinates(body.vertices)
    middle = np.exp(-((body.vertices[:, 0] / (0.1 * frame.unit)) ** 2)) * np.exp(-(((ahead - 0.72) / 0.13) ** 2))
    of_head = body.weights[:, [BONE["head"], BONE["jaw"]]].sum(1)
    return middle * of_head * _smooth(-1.5 * body.normals[:, 2] - 0.3)


def _coat(body: AnimalBody, shape: QuadrupedShape, frame: np.ndarray, height_m: float) -> tuple[np.ndarray, np.ndarray]:
    """How far hair stands off the skin [V], m, and how much each vertex belongs to a mane or a tuft, 0..1."""
    along, up, _, leg = frame.T.astype(np.float64)
    ears = body.weights[:, [BONE[f"ear{n}_{end}"] for n in (1, 2) for end in "LR"]].sum(1)
    hairless = [PART_NAMES.index(name) for name in PART_NAMES if name not in ("fur", "mane")]
    hard = body.vertex_parts[:, hairless].any(1)
    of_bones = _FUR_SHARES | {"tail": min(shape.tail_girth, 1.0)}
    shares = [next((v for k, v in of_bones.items() if name.startswith(k)), 1.0) for name in BONES]
    fur = body.weights @ np.array(shares) * (1 - _LEG_FUR * _smooth(1.6 * leg)) * ~hard
    crest = body.vertex_parts[:, PART_NAMES.index("mane")] & (along > 0.8)
    if crest.any():
        mane, length = crest.astype(float), 0.06
    else:
        shoulders = body.weights[:, [BONE[f"{name}_{end}"] for name in ("scapula", "upper_arm") for end in "LR"]].sum(1)
        ruff = _smooth((along - 0.85) / 0.3) * (1 - _smooth((along - 2.15) / 0.25)) * (1 - 0.75 * shoulders)
        chest = _smooth((along - 0.65) / 0.3) * _smooth((-0.2 - up) / 0.5) * 0.6
        mane = np.maximum(ruff, chest) * (1 - _smooth(3 * leg)) * (along < 2.5)
        length = 0.13
    mane = mane * (shape.mane > 0.05) * ~hard
    locks = 1 + sum(0.12 * ripple(body.vertices * (repeats / height_m)) for repeats in (0.35, 0.9))
    stands_off = shape.coat_m * fur + length * height_m * shape.mane * _smooth(mane)
    tuft = (shape.tail_tuft > 0.05) * (along < -0.78)
    from_ears = [
        np.linalg.norm(body.vertices - body.heads[BONE[f"ear1_{end}"]], axis=1) / (0.1 * height_m) for end in "LR"
    ]
    clear = _smooth(np.minimum(*from_ears) - 0.3) * (1 - np.clip(2 * ears, 0, 1))
    return stands_off * clear * locks, np.maximum(mane, tuft)


def _bone_maps(body: AnimalBody, shape: QuadrupedShape, legs: np.ndarray) -> np.ndarray:
    """[B,3,3] what each bone's flesh is turned and stretched by.

    Args:
        legs: [2] further factors on the length of fore and hind legs.
    """
    carried = _carriage(body, shape)
    maps = np.empty((len(BONES), 3, 3))
    for bone, name in enumerate(BONES):
        stem = name[:-2] if name[-2] == "_" else name
        length, across = _factors(stem, shape, legs)
        if stem in ("pelvis", "spine1", "spine2", "spine3", "scapula", "hip"):
            stretch = np.diag([shape.trunk_girth, length, shape.trunk_depth])
        else:
            direction = bone_direction(body, name)
            along = np.outer(direction, direction)
            stretch = across * (np.eye(3) - along) + length * along
            if stem in ("ear1", "ear2"):
                through = _ear_axis(body, name[-1], name)
                stretch += (shape.head_size * shape.ear_thickness - across) * np.outer(through, through)
        maps[bone] = carried[bone] @ stretch
    return maps


def _without_folds(body: AnimalBody, shape: QuadrupedShape, vertices: np.ndarray) -> np.ndarray:
    """Smooth the skin [V,3] where neighbouring bones are stretched so differently that it would lie in folds.

    These are short necks, and where legs leave a trunk that has become much thicker or thinner than they.
    """
    at_neck = np.clip((_FOLDS_BELOW - shape.neck_length) / 0.2, 0, 1)
    at_legs = np.clip(np.log([shape.trunk_girth, shape.trunk_depth, 1 / shape.leg_length]).max() / 0.4, 0, 1)
    if not (at_neck or at_legs):
        return vertices
    neck, trunk, leg = (
        _smooth(1.5 * body.weights[:, [BONE[name] for name in BONES if name.startswith(stems)]].sum(1))
        for stems in (
            ("spine3", "neck"),
            ("pelvis", "spine", "hip", "scapula"),
            ("thigh", "shin", "upper_arm", "forearm"),
        )
    )
    is_soft = ~body.vertex_parts[:, PART_NAMES.index("horns")]
    neck, leg = 0.7 * at_neck * neck * is_soft, at_legs * np.maximum(leg, 0.5 * trunk) * is_soft
    result = vertices.copy()
    # Inwards and, for legs, a little further outwards again, which keeps their volume (Taubin, 1995).
    for share, steps in ((neck, (1.0,)), (leg, (0.6, -0.62))):
        rows = np.flatnonzero(share > 0.02)
        around, own = _neighbours(body)[rows], share[rows, None].astype(np.float32)
        for step in steps * _FOLD_ROUNDS * bool(len(rows)):
            result[rows] += step * own * (around @ result - result[rows])
    return result


@lru_cache(maxsize=16)
def _neighbours(body: AnimalBody) -> csr_array:
    """[V,V] rows whose product with values is the mean of each vertex's neighbours."""
    here, after = body.faces.reshape(-1), np.roll(body.faces, -1, axis=1).reshape(-1)
    differ = here != after
    pairs = np.concatenate([[here, after], [after, here]], axis=1)[:, np.tile(differ, 2)]
    size = len(body.vertices)
    meets = csr_array((np.ones(pairs.shape[1], np.float32), pairs), (size, size))
    meets.data[:] = 1  # an edge of two faces counts once
    count = np.diff(meets.indptr).astype(np.float32)
    meets.data /= np.repeat(np.maximum(count, 1), np.diff(meets.indptr))
    return meets


def _factors(stem: str, shape: QuadrupedShape, legs: np.ndarray) -> tuple[float, float]:
    """How a bone is stretched along and across its direction; trunk bones take only the first."""
    match stem:
        case "upper_arm" | "forearm" | "hand":
            return shape.leg_length * legs[0], shape.leg_girth
        case "thigh" | "shin" | "cannon":
            return shape.leg_length * legs[1], shape.leg_girth
        case "finger" | "foot" | "toe":
            return shape.paw_size, shape.paw_size
        case "head" | "jaw":
            return shape.head_size, shape.head_size
        case "ear1" | "ear2":
            return shape.head_size * shape.ear_length, shape.head_size * shape.ear_width
        case "scapula" | "hip":
            return 1.0, 1.0
    if stem.startswith("neck"):
        return shape.neck_length, shape.neck_girth
    if stem.startswith("tail"):
        return shape.tail_length, shape.tail_girth ** _TAIL_TAPER[TAIL.index(stem)]
    return shape.trunk_length, 1.0


@lru_cache(maxsize=32)
def _ear_axis(body: AnimalBody, end: str, bone: str) -> np.ndarray:
    """[3] unit: through an ear where it is thinnest, across a bone of it."""
    share = body.weights[:, [BONE[f"ear1_{end}"], BONE[f"ear2_{end}"]]].sum(1).astype(np.float64)
    share = share / share.sum()
    away = body.vertices - share @ body.vertices
    through = np.linalg.eigh((share[:, None] * away).T @ away)[1][:, 0]
    direction = bone_direction(body, bone)
    through = through - (through @ direction) * direction
    return through / np.linalg.norm(through)


def _carriage(body: AnimalBody, shape: QuadrupedShape) -> np.ndarray:
    """[B,3,3] global turns that carry neck, tail, ears and hind legs otherwise than the base does."""
    local = np.zeros((len(BONES), 3))
    bends = ("spine3", "neck1", "neck2", "neck3")
    for name in bends:
        local[BONE[name], 0] = -shape.neck_raise_deg / len(bends)
    local[BONE["head"], 0] = 0.8 * shape.neck_raise_deg  # the face goes on looking ahead
    for name in TAIL:
        local[BONE[name], 0] = shape.tail_raise_deg / len(TAIL)
    for end, sign in (("L", 1), ("R", -1)):
        local[BONE[f"thigh_{end}"], 0] = -shape.hind_tuck_deg
        local[BONE[f"cannon_{end}"], 0] = shape.hind_tuck_deg
        way = bone_direction(body, f"ear1_{end}")
        out = np.degrees(np.arctan2(sign * way[0], way[2]))
        flop = np.array([12.0, sign * max(130.0 - out, 20.0), 0.0]) * shape.ear_flop
        flop[2] = sign * shape.ear_back_deg
        local[BONE[f"ear1_{end}"]], local[BONE[f"ear2_{end}"]] = 0.4 * flop, 0.6 * flop
    turns = matrix_from_rotvec(np.radians(local))
    for bone, parent in enumerate(PARENTS):
        if parent >= 0:
            turns[bone] = turns[parent] @ turns[bone]
    return turns


def bone_direction(body: AnimalBody, name: str) -> np.ndarray:
    """[3] unit: where a bone points at rest."""
    stem, end = (name[:-2], name[-2:]) if name[-2] == "_" else (name, "")
    target = _POINTS_TO.get(stem)
    if stem == "tail6":
        way = body.landmark_points["tail_tip"] - body.heads[BONE[name]]
    elif target is not None:
        way = body.heads[BONE[target + end]] - body.heads[BONE[name]]
    else:
        parent = PARENTS[BONE[name]]
        way = body.heads[BONE[name]] - body.heads[parent]
    return way / np.linalg.norm(way)


def _carry_heads(body: AnimalBody, maps: np.ndarray) -> np.ndarray:
    """[B,3] bone heads of the build."""
    heads = body.heads.copy()
    for bone, parent in enumerate(PARENTS):
        if parent >= 0:
            heads[bone] = heads[parent] + maps[parent] @ (body.heads[bone] - body.heads[parent])
    return heads


def _lowest(body: AnimalBody, vertices: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest points of fore and hind feet [2], and how long the legs above are [2], m."""
    low, reach = [], []
    for feet, top in (("front", "upper_arm_L"), ("back", "thigh_L")):
        paw = np.concatenate([body.landmarks[f"{side}_{feet}_paw"] for side in ("left", "right")])
        low.append(vertices[paw, 2].min())
        reach.append(heads[BONE[top], 2] - low[-1])
    return np.array(low), np.array(reach)


def _samples(body: AnimalBody) -> dict[str, np.ndarray]:
    """Vertices of the fore and hind part without neck and tail, of neck with head, and of the tail.

    Every third is enough.
    """

    def share(*prefixes: str) -> np.ndarray:
        return body.weights[:, [k for k, name in enumerate(BONES) if name.startswith(prefixes)]].sum(1)

    neck, tail = share("neck2", "neck3", "head", "jaw", "ear") >= 0.5, share("tail") >= 0.5
    middle_y = body.heads[[BONE["upper_arm_L"], BONE["thigh_L"]], 1].mean()
    before, stands = body.vertices[:, 1] < middle_y, ~(neck | tail)
    parts = {"fore": stands & before, "hind": stands & ~before, "neck": neck, "tail": tail}
    return {name: np.flatnonzero(part)[::3] for name, part in parts.items()}


def _joint_rows(body: AnimalBody) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that give the skeleton's joints from bone heads and markers, the markers, and which joints are skin."""
    names = load_skeleton("quadruped").joints
    markers = np.unique(np.concatenate(list(body.landmarks.values())))
    num_points = len(BONES) + len(markers)
    rows = np.zeros((len(names), num_points + (2 if body.base in HOOFED else 0)))
    bones = _JOINT_BONES | _fore_joint_bones(body.base)
    for row, name in enumerate(names):
        if name in body.landmarks:
            index = body.landmarks[name]
            rows[row, len(BONES) + np.searchsorted(markers, index)] = 1 / len(index)
        elif name.endswith("shoulder") and body.base in HOOFED:
            rows[row, num_points + (0 if name.startswith("left_") else 1)] = 1
        else:
            for bone, share in bones[name.replace("right_", "left_")].items():
                rows[row, MIRRORED[BONE[bone]] if name.startswith("right_") else BONE[bone]] = share
    on_surface = [name in body.landmarks and not name.endswith(_INNER) for name in names]
    return rows, markers, np.array(on_surface)


def _shoulders(base: str, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the left and right shoulder at rest and the bones that carry them, [2,3] and [2,B]; none in paws."""
    if base not in HOOFED:
        return np.zeros((0, 3), np.float32), np.zeros((0, len(BONES)), np.float32)
    left = np.array([BONE[bone] for bone in _SHOULDER_OF_HOOFED])
    shares = np.array(list(_SHOULDER_OF_HOOFED.values()))
    points = np.stack([shares @ heads[left], shares @ heads[MIRRORED[left]]])
    weights = np.zeros((2, len(BONES)), np.float32)
    weights[[0, 1], [BONE["scapula_L"], BONE["scapula_R"]]] = 1
    return points.astype(np.float32), weights


def _fore_joint_bones(base: str) -> dict[str, dict[str, float]]:
    if base in HOOFED:
        return _FORE_JOINT_BONES_OF_HOOFED
    return _FORE_JOINT_BONES_OF_DOG if base == "dog" else _FORE_JOINT_BONES_OF_PAWED


def sided(table: dict[str, str], joint: str) -> str:
    """An entry of a table that is written for the left side only."""
    if joint in table:
        return table[joint]
    bone = table[joint.replace("right_", "left_")]
    return f"{bone[:-2]}_R" if bone.endswith("_L") else bone


def _smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
