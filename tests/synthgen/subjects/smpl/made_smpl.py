"""Makes model files of SMPL's format out of tubes: true arrays, shapes and indices, but nobody's body.

A made model has the joints' tree, the number of vertices and the landmarks of its kind; vertices that the tubes do not
need lie at the landmarks and in no face. Axes as in SMPL: y up, facing +z, left = +x, metres.
"""

import pickle
from pathlib import Path

import numpy as np

from synthgen.subjects.smpl.bake import BODY_PARENTS

# Joints 0..21 in a T-pose, feet on y = 0.
_BODY = np.array([
    [0, 0.95, 0], [0.09, 0.9, 0], [-0.09, 0.9, 0], [0, 1.06, -0.01], [0.1, 0.5, 0], [-0.1, 0.5, 0], [0, 1.19, 0],
    [0.1, 0.09, -0.02], [-0.1, 0.09, -0.02], [0, 1.25, 0.01], [0.11, 0.03, 0.1], [-0.11, 0.03, 0.1], [0, 1.45, -0.01],
    [0.07, 1.38, -0.01], [-0.07, 1.38, -0.01], [0, 1.52, 0.02], [0.18, 1.4, -0.02], [-0.18, 1.4, -0.02],
    [0.44, 1.39, -0.03], [-0.44, 1.39, -0.03], [0.69, 1.4, -0.03], [-0.69, 1.4, -0.03],
])  # fmt: skip
_ENDS = {10: (0.11, 0.02, 0.18), 11: (-0.11, 0.02, 0.18), 15: (0, 1.72, 0.02)}
_RADII = {0: 0.13, 3: 0.13, 6: 0.14, 9: 0.14, 1: 0.085, 4: 0.055, 7: 0.04, 10: 0.03, 12: 0.06, 15: 0.09, 13: 0.06,
          16: 0.05, 18: 0.04, 20: 0.03}  # fmt: skip
# First knuckle and direction of each finger from the left wrist, in the models' order; thumbs last.
_FINGERS = {"index": (0.1, 0, 0.025), "middle": (0.105, 0, 0), "pinky": (0.09, 0, -0.045), "ring": (0.1, 0, -0.022),
            "thumb": (0.03, -0.01, 0.03)}  # fmt: skip
_SIZES = {"smpl": 6890, "smplh": 6890, "smplx": 10475}
_AROUND = 12

# Landmarks' vertices as in smplx 0.1.28, and where they lie here.
_LANDMARKS = {
    "smplh": {"nose": 332, "reye": 6260, "leye": 2800, "rear": 4071, "lear": 583, "rthumb": 6191, "rindex": 5782,
              "rpinky": 6133, "lthumb": 2746, "lindex": 2319, "lpinky": 2673, "LBigToe": 3216, "LSmallToe": 3226,
              "LHeel": 3387, "RBigToe": 6617, "RSmallToe": 6624, "RHeel": 6787},
    "smplx": {"nose": 9120, "reye": 9929, "leye": 9448, "rear": 616, "lear": 6, "rthumb": 8079, "rindex": 7669,
              "rpinky": 8022, "lthumb": 5361, "lindex": 4933, "lpinky": 5286, "LBigToe": 5770, "LSmallToe": 5780,
              "LHeel": 8846, "RBigToe": 8463, "RSmallToe": 8474, "RHeel": 8635},
}  # fmt: skip
_LEFT_POINTS = {
    "nose": (15, (0, 1.58, 0.13)), "leye": (15, (0.03, 1.61, 0.11)), "lear": (15, (0.09, 1.59, 0.02)),
    "lthumb": (20, (0.78, 1.38, 0.07)), "lindex": (20, (0.86, 1.4, 0.0)), "lpinky": (20, (0.84, 1.4, -0.08)),
    "LBigToe": (10, (0.09, 0.01, 0.2)), "LSmallToe": (10, (0.15, 0.01, 0.17)), "LHeel": (7, (0.1, 0.02, -0.07)),
}  # fmt: skip


def made_model(kind: str, num_betas: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """All arrays of a model file of that kind."""
    joints, parents, ends = _skeleton(kind)
    points, weights, faces, owner_rings = _tubes(joints, parents, ends)
    num_vertices = _SIZES[kind]
    landmarks = _LANDMARKS["smplx" if kind == "smplx" else "smplh"]
    free = np.setdiff1d(np.arange(num_vertices), list(landmarks.values()))[: len(points)]
    vertices = np.tile(joints[0], (num_vertices, 1))
    all_weights = np.zeros((num_vertices, len(joints)))
    all_weights[:, 0] = 1
    vertices[free], all_weights[free] = points, weights
    for name, vertex in landmarks.items():
        joint, place = _landmark(name)
        vertices[vertex], all_weights[vertex] = place, np.eye(len(joints))[joint]
    regressor = np.zeros((len(joints), num_vertices))
    for joint, ring in enumerate(owner_rings):
        regressor[joint, free[ring]] = 1 / len(ring)
    rng = np.random.default_rng(seed)
    on_head = all_weights[:, 15:16, None]
    num_expressions = 10 if kind == "smplx" else 0
    model = {
        "v_template": vertices,
        "shapedirs": np.concatenate(
            [_wobble(rng, vertices, 0.02, num_betas), on_head * _wobble(rng, vertices, 0.003, num_expressions)], 2
        ),
        "posedirs": _wobble(rng, vertices, 0.001, 9 * (len(joints) - 1)),
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, *parents[1:]], range(len(joints))], np.uint32),
        "weights": all_weights,
        "f": free[faces].astype(np.uint32),
    }
    if kind != "smpl":
        hands = {f"hands_components{side}": np.eye(45) for side in "lr"}
        model |= hands | {f"hands_mean{side}": np.full(45, 0.1) for side in "lr"}
    if kind == "smplx":
        model |= {"lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.full((51, 3), 1 / 3)}
    return model


def write_npz(path: Path, model: dict[str, np.ndarray]) -> Path:
    np.savez(path, **model)
    return path


def write_pickle(path: Path, model: dict[str, object], protocol: int) -> Path:
    path.write_bytes(pickle.dumps(model, protocol))
    return path


def _skeleton(kind: str) -> tuple[np.ndarray, list[int], dict[int, np.ndarray]]:
    """Joints [J,3], parents, and where the bones of joints without a child end."""
    joints, parents = list(_BODY), list(BODY_PARENTS)
    ends = {joint: np.array(end) for joint, end in _ENDS.items()}
    if kind == "smpl":
        for wrist, sign in ((20, 1), (21, -1)):
            ends[len(joints)] = joints[wrist] + [sign * 0.17, 0, 0]
            joints.append(joints[wrist] + [sign * 0.09, 0, 0])
            parents.append(wrist)
        return np.array(joints), parents, ends
    if kind == "smplx":
        for place in ((0, 1.5, 0.05), (0.03, 1.61, 0.08), (-0.03, 1.61, 0.08)):
            ends[len(joints)] = np.add(place, (0, 0, 0.03))
            joints.append(np.array(place))
            parents.append(15)
    for wrist, sign in ((20, 1), (21, -1)):
        for start in _FINGERS.values():
            knuckle = joints[wrist] + np.array(start) * [sign, 1, 1]
            along = np.array(start) / np.linalg.norm(start) * [sign, 1, 1] * 0.03
            for link in range(3):
                parents.append(wrist if link == 0 else len(joints) - 1)
                ends[len(joints)] = knuckle + (link + 1) * along
                joints.append(knuckle + link * along)
    return np.array(joints), parents, ends


def _tubes(joints: np.ndarray, parents: list[int], ends: dict[int, np.ndarray]):
    """Points, weights, triangles, and for each joint a ring of points whose mean it is."""
    points, weights, faces, rings_of = [], [], [], {}
    for joint in range(len(joints)):
        children = [child for child, parent in enumerate(parents) if parent == joint] or [None]
        for child in children:
            end = ends[joint] if child is None else joints[child]
            radius = _RADII.get(joint, _RADII.get(joint - 1, 0.009))
            first = sum(map(len, points))
            for step, share in enumerate((0.0, 0.15, 0.4, 0.6, 0.85, 1.0)):
                centre = joints[joint] + share * (end - joints[joint])
                points.append(centre + radius * (0.75 if share in (0.0, 1.0) else 1.0) * _circle(end - joints[joint]))
                ring = np.zeros((_AROUND, len(joints)))
                bend = 0.0 if child is None else max(0.0, share - 0.6) / 0.8
                ring[:, joint] = 1 - bend
                if child is not None:
                    ring[:, child] = bend
                weights.append(ring)
                if step:
                    here, there = first + (step - 1) * _AROUND + np.arange(_AROUND), first + step * _AROUND
                    there = there + np.arange(_AROUND)
                    quads = np.stack([here, np.roll(here, -1), np.roll(there, -1), there], 1)
                    faces += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
            rings_of.setdefault(joint, first + np.arange(_AROUND))
            for start, order in ((first, [0, 2, 1]), (first + 5 * _AROUND, [0, 1, 2])):
                fan = start + np.array([[0, k, k + 1] for k in range(1, _AROUND - 1)])
                faces.append(fan[:, order])
    rings = [rings_of[joint] for joint in range(len(joints))]
    return np.concatenate(points), np.concatenate(weights), np.concatenate(faces), rings


def _circle(axis: np.ndarray) -> np.ndarray:
    """[_AROUND,3] unit vectors at right angles to the axis, counter-clockwise about it."""
    axis = axis / np.linalg.norm(axis)
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    angles = 2 * np.pi * np.arange(_AROUND)[:, None] / _AROUND
    return np.cos(angles) * side + np.sin(angles) * np.cross(axis, side)


def _landmark(name: str) -> tuple[int, np.ndarray]:
    """Joint and place of a landmark; right ones mirror the left ones."""
    left = name if name in _LEFT_POINTS else name.replace("r", "l", 1) if name[0] == "r" else name.replace("R", "L", 1)
    joint, place = _LEFT_POINTS[left]
    if name == left:
        return joint, np.array(place, float)
    return (joint + 1 if joint != 15 else joint), np.array(place) * [-1, 1, 1]


def _wobble(rng: np.random.Generator, vertices: np.ndarray, size: float, count: int) -> np.ndarray:
    """[V,3,count] smooth offsets over space."""
    slopes = rng.normal(0, size, (count, 3, 3))
    return np.einsum("kij,vj->vik", slopes, np.sin(2 * vertices))
