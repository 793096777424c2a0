"""Bakes the dm_control dog onto the rig that all four-legged bases share.

Conventions: as in rig. Its 21 tail and 7 neck vertebrae are divided among fewer bones; the mouth is closed; the
empty sockets get eyeballs.
"""

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.animals.dog_rig import DogRig
from synthgen.subjects.animals.rig import BONE, BONES, PART_NAMES, AnimalBody, lay_tail
from synthgen.subjects.mesh import vertex_normals

# Where along our spine and neck each of the dog's vertebrae lies: shares of our bones.
_DOG_BONES = {
    "torso": {"spine2": 1}, "L_1": {"spine2": 1}, "L_2": {"spine2": 0.7, "spine1": 0.3},
    "L_3": {"spine2": 0.4, "spine1": 0.6}, "L_4": {"spine1": 1}, "L_5": {"spine1": 0.8, "pelvis": 0.2},
    "L_6": {"spine1": 0.5, "pelvis": 0.5}, "L_7": {"spine1": 0.2, "pelvis": 0.8}, "pelvis": {"pelvis": 1},
    "C_7": {"spine3": 1}, "C_6": {"spine3": 0.5, "neck1": 0.5}, "C_5": {"neck1": 1},
    "C_4": {"neck1": 0.5, "neck2": 0.5}, "C_3": {"neck2": 1}, "C_2": {"neck2": 0.5, "neck3": 0.5}, "C_1": {"neck3": 1},
    "skull": {"head": 1}, "jaw": {"jaw": 1}, "scapula": {"scapula": 1}, "upper_arm": {"upper_arm": 1},
    "lower_arm": {"forearm": 1}, "hand_anchor": {"hand": 1}, "hand": {"hand": 1}, "finger": {"finger": 1},
    "upper_leg": {"thigh": 1}, "lower_leg": {"shin": 1}, "foot": {"cannon": 1}, "foot_anchor": {"foot": 1},
    "toe": {"foot": 1},
}  # fmt: skip
_DOG_HEADS = {
    "pelvis": "Ca_1", "spine1": "L_7", "spine2": "L_3", "spine3": "C_7", "neck1": "C_6", "neck2": "C_4", "neck3": "C_2",
    "head": "skull", "jaw": "jaw", "scapula": "scapula", "upper_arm": "upper_arm", "forearm": "lower_arm",
    "hand": "hand", "finger": "finger", "thigh": "upper_leg", "shin": "lower_leg", "cannon": "foot", "foot": "toe",
}  # fmt: skip
# The dog's mouth hangs open at rest; this closes it, further than dog.xml lets it.
_CLOSE_JAW_RAD = np.radians(-25.0)
# Where the ears sit on the dog's head: base and tip of the left one, m (measured on the mesh), and the half-width.
_EAR_BASE, _EAR_TIP, _EAR_REACH_M = np.array([0.048, -0.292, 0.722]), np.array([0.0855, -0.2987, 0.8068]), 0.05
_EYE_RADIUS_M = 0.0125
_EYE_RINGS, _EYE_SECTORS = 8, 12
_FACE_OFF_EARS_M = 0.04
# Of two places in the mouth that face each other: how far beside the line between them, and how far apart.
_IN_LINE_M, _BEYOND_M, _MOUTH_M, _LOOKS_RAD = 0.007, 0.001, 0.06, np.radians(30)


def dog_body(rig: DogRig) -> AnimalBody:
    """An AnimalBody of the dm_control dog: mouth closed, with eyeballs in its empty sockets."""
    given, weights = {name: k for k, name in enumerate(rig.bone_names)}, np.zeros((len(rig.vertices), len(BONES)))
    heads = np.full((len(BONES), 3), np.nan)
    for column, name in enumerate(rig.bone_names):
        if name.startswith("Ca_"):
            continue
        stem, end = (name[:-2], name[-2:]) if name.endswith(("_L", "_R")) else (name, "")
        for ours, share in _DOG_BONES[stem].items():
            weights[:, BONE[ours + end]] += share * rig.weights[:, column]
    for ours, theirs in _DOG_HEADS.items():
        for end in ("_L", "_R") if f"{ours}_L" in BONE else ("",):
            heads[BONE[ours + end]] = rig.pivots[given[theirs + end]]
    tail = [given[f"Ca_{number}"] for number in range(1, 22)]
    lay_tail(rig.pivots[tail], rig.weights[:, tail], rig.vertices, heads, weights)
    vertices = rig.vertices.astype(np.float64)
    jaw = weights[:, [BONE["jaw"]]]
    close = matrix_from_rotvec(np.array([_CLOSE_JAW_RAD, 0, 0]))
    vertices += jaw * ((vertices - heads[BONE["jaw"]]) @ (close - np.eye(3)).T)
    landmarks = _dog_landmarks(rig)
    for side, end, sign in (("left", "L", 1), ("right", "R", -1)):
        base, tip = _EAR_BASE * [sign, 1, 1], _EAR_TIP * [sign, 1, 1]
        heads[BONE[f"ear1_{end}"]], heads[BONE[f"ear2_{end}"]] = base, base + 0.5 * (tip - base)
        along = _along_dog_ear(rig, sign)
        outer, ear = _smooth((along - 0.4) / 0.35), _smooth((along - 0.02) / 0.25)
        ear = np.where(along < 0, 0, ear)
        weights *= 1 - ear[:, None]
        weights[:, BONE[f"ear1_{end}"]] += ear * (1 - outer)
        weights[:, BONE[f"ear2_{end}"]] += ear * outer
        landmarks[f"{side}_ear"] = np.flatnonzero((along > 0) & (along < 0.25))
        thigh, toe = heads[BONE[f"thigh_{end}"]], landmarks[f"{side}_back_hoof"]
        heads[BONE[f"hip_{end}"]] = thigh * [0.5, 1, 1]
        heads[BONE[f"toe_{end}"]] = 0.5 * (heads[BONE[f"foot_{end}"]] + rig.vertices[toe].mean(0))
    eyes, eye_faces, eye_parts = _eyeballs(rig)
    in_head = np.zeros((len(eyes), len(BONES)))
    in_head[:, BONE["head"]] = 1
    for number, side in enumerate(("left", "right")):  # the front pole comes first
        landmarks[f"{side}_eye"] = np.array([len(vertices) + number * len(eyes) // 2])
    faces = np.concatenate([rig.faces, eye_faces + len(vertices)]).astype(np.int32)
    in_mouth = _inside_mouth(vertices, rig.faces, weights)[rig.faces].mean(1) > 0.3
    vertices = np.concatenate([vertices, eyes]).astype(np.float32)
    weights = np.concatenate([weights, in_head])
    return AnimalBody(
        base="dog",
        vertices=vertices,
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        faces=faces,
        face_parts=np.concatenate([np.where(in_mouth, PART_NAMES.index("mouth"), 0).astype(np.uint8), eye_parts]),
        heads=heads,
        landmarks=landmarks,
        normals=vertex_normals(vertices, faces),
        uv=np.concatenate([rig.uv, np.zeros((len(eye_faces), 4, 2), np.float32)]),
    )


def _dog_landmarks(rig: DogRig) -> dict[str, np.ndarray]:
    """Vertices of each surface joint, found from the mesh's own extremes and sections."""
    bones = {name: k for k, name in enumerate(rig.bone_names)}
    x, y, z = rig.vertices.T
    strongest = rig.weights.argmax(1)
    middle = np.abs(x) < 0.012

    def around(vertex: int, reach_m: float = 0.007) -> np.ndarray:
        return np.flatnonzero(np.linalg.norm(rig.vertices - rig.vertices[vertex], axis=1) < reach_m)

    def top(at_y: float) -> np.ndarray:
        section = np.flatnonzero(middle & (np.abs(y - at_y) < 0.012))
        return around(section[z[section].argmax()])

    off_head = rig.weights[:, [bones["skull"], bones["jaw"]]].sum(1) < 0.5
    throat = np.flatnonzero(middle & off_head & (np.abs(z - rig.pivots[bones["C_3"], 2]) < 0.012))
    found = {
        "nose": around(int(np.where(strongest == bones["skull"], y, np.inf).argmin())),
        "tail_root": top(rig.pivots[bones["Ca_1"], 1]),
        "tail_tip": around(int(y.argmax())),
        "withers": top(rig.pivots[bones["scapula_L"], 1]),
        "throat": around(throat[y[throat].argmin()]),
    }
    for side, end in (("left", "L"), ("right", "R")):
        for name, bone in (("front", f"finger_{end}"), ("back", f"toe_{end}")):
            paw = np.flatnonzero(strongest == bones[bone])
            found[f"{side}_{name}_paw"] = paw
            low = paw[z[paw] < z[paw].min() + 0.02]
            found[f"{side}_{name}_hoof"] = around(low[y[low].argmin()], 0.012)
        along = _along_dog_ear(rig, 1 if side == "left" else -1)
        found[f"{side}_ear"] = np.flatnonzero((along > 0) & (along < 0.25))
    return found


def _along_dog_ear(rig: DogRig, side: int) -> np.ndarray:
    """How far up an ear each vertex lies: 0 base, 1 tip; -1 for vertices off the ear."""
    base, tip = _EAR_BASE * [side, 1, 1], _EAR_TIP * [side, 1, 1]
    axis = tip - base
    away = rig.vertices - base
    along = away @ axis / (axis @ axis)
    off_axis = np.linalg.norm(away - along[:, None] * axis, axis=1)
    is_ear = (off_axis < _EAR_REACH_M) & (rig.vertices[:, 0] * side > 0.03) & (along > -0.05)
    return np.where(is_ear, np.clip(along, 0, 1), -1.0)


def _inside_mouth(vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[V] whether each vertex lies in the closed mouth: it looks onto flesh, and there is some to both sides of it."""
    before_y, below_z = _EAR_BASE[1:] - _FACE_OFF_EARS_M
    near = np.flatnonzero(
        (weights[:, [BONE["head"], BONE["jaw"]]].sum(1) > 0.5)
        & (vertices[:, 1] < before_y)
        & (vertices[:, 2] < below_z)
    )
    away = vertices[near].astype(np.float32) - vertices[near, None].astype(np.float32)
    off = np.linalg.norm(away, axis=2)
    ahead = np.einsum("vnc,vc->vn", away, vertex_normals(vertices, faces)[near])
    inside = ((ahead > np.cos(_LOOKS_RAD) * off) & (ahead > _BEYOND_M) & (ahead < _MOUTH_M)).any(1)
    for axis, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        in_line = np.hypot(away[..., others[0]], away[..., others[1]]) < _IN_LINE_M
        inside &= (in_line & (away[..., axis] > _BEYOND_M)).any(1) & (in_line & (away[..., axis] < -_BEYOND_M)).any(1)
    result = np.zeros(len(vertices), bool)
    result[near[inside]] = True
    return result


def _eyeballs(rig: DogRig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two balls in the dog's empty sockets: vertices (front pole first), faces, part of each face."""
    ring, sector = np.meshgrid(np.arange(1, _EYE_RINGS), np.arange(_EYE_SECTORS), indexing="ij")
    polar, around = np.pi * ring / _EYE_RINGS, 2 * np.pi * sector / _EYE_SECTORS
    inner = np.stack([np.cos(around) * np.sin(polar), -np.cos(polar), np.sin(around) * np.sin(polar)], -1).reshape(
        -1, 3
    )
    ball = np.concatenate([[[0, -1, 0]], inner, [[0, 1, 0]]])
    grid = 1 + np.arange((_EYE_RINGS - 1) * _EYE_SECTORS).reshape(_EYE_RINGS - 1, _EYE_SECTORS)
    after = np.roll(grid, -1, axis=1)
    front = np.stack([np.zeros_like(grid[0]), grid[0], after[0], after[0]], -1)
    back = np.stack([grid[-1], np.full_like(grid[0], len(ball) - 1), after[-1], after[-1]], -1)
    sides = np.stack([grid[:-1], grid[1:], after[1:], after[:-1]], -1).reshape(-1, 4)
    faces = np.concatenate([front, sides, back])
    middle = ball[faces].mean(1)
    # A dog shows almost no white: the iris reaches 50 degrees.
    parts = np.where(-middle[:, 1] > np.cos(np.radians(50)), PART_NAMES.index("iris"), PART_NAMES.index("eyes"))
    vertices = []
    for iris, side in zip(rig.iris_m, (1, -1), strict=True):
        look = matrix_from_rotvec(np.array([0, 0, side * np.radians(20)]))
        vertices.append(iris + _EYE_RADIUS_M * (ball + np.array([0, 0.85, 0])) @ look.T)
    return (
        np.concatenate(vertices),
        np.concatenate([faces, faces + len(ball)]),
        np.concatenate([parts, parts]).astype(np.uint8),
    )


def _smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
