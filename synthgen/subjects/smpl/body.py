"""The bodies of SMPL, SMPL-H and SMPL-X files that the user brings: shape, expression, and skinning; numpy alone.

Conventions: metres, z up, the rest pose is the models' T-pose, facing -y, left = +x. Every joint's rotation is global
and relative to that rest (identity at rest).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global
from synthgen.subjects.skinning import bone_positions, skin
from synthgen.subjects.smpl.bake import WORLD_FROM_MODEL

# The first 22 joints are the same in all models, named as in the skeleton `human`.
_BODY_JOINTS = load_skeleton("human").joints[:22]
FINGERS = tuple(f"{finger}{link}" for finger in ("index", "middle", "pinky", "ring", "thumb") for link in (1, 2, 3))
HANDS = tuple(f"{side}_{finger}" for side in ("left", "right") for finger in FINGERS)
JOINT_NAMES = {
    "smpl": (*_BODY_JOINTS, "left_hand", "right_hand"),
    "smplh": (*_BODY_JOINTS, *HANDS),
    "smplx": (*_BODY_JOINTS, "jaw", "left_eyeball", "right_eyeball", *HANDS),
}


@dataclass(frozen=True)
class SmplShape:
    """Shape coefficients, the model's first ones; those left out are 0."""

    betas: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class SmplBody:
    """A baked model; see bake.py for what each array is."""

    kind: str
    template: np.ndarray
    shape_offsets: np.ndarray
    expression_offsets: np.ndarray
    pose_offsets: np.ndarray
    joint_template: np.ndarray
    joint_shape_offsets: np.ndarray
    joint_expression_offsets: np.ndarray
    parents: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    landmarks: dict[str, int]

    @staticmethod
    def load(npz: Path) -> "SmplBody":
        """Read what bake_smpl wrote; BAKE_VERSION belongs into the file's name."""
        with np.load(npz) as data:
            arrays = {name: data[name] for name in data.files}
        names, vertices = arrays.pop("landmark_names"), arrays.pop("landmark_vertices")
        kind = str(arrays.pop("kind"))
        triangles = arrays.pop("faces")
        landmarks = {str(name): int(vertex) for name, vertex in zip(names, vertices, strict=True)}
        return SmplBody(kind=kind, landmarks=landmarks, faces=triangles[:, [0, 1, 2, 2]], **arrays)

    @property
    def joints(self) -> tuple[str, ...]:
        return JOINT_NAMES[self.kind]

    def joint(self, name: str) -> int:
        return self.joints.index(name)


def shape_smpl(body: SmplBody, betas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V,3] and joints [J,3] of a shape at rest, m.

    Raises:
        ValueError: more coefficients than the model has.
    """
    weights = _coefficients(betas, len(body.shape_offsets), "betas", body)
    vertices = body.template + np.tensordot(weights, body.shape_offsets, 1)
    return vertices, body.joint_template + np.tensordot(weights, body.joint_shape_offsets, 1)


def move_points(
    body: SmplBody,
    points: np.ndarray,
    sources: np.ndarray,
    weights: np.ndarray,
    joints: np.ndarray,
    expression: tuple[float, ...],
    rotations: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Points at rest, without expression, to where a pose takes them: SMPL's corrections and linear skinning.

    Args:
        points: [N,3] m; sources: [N] the model's vertex whose offsets each takes; weights: [N,J].
        joints: [J,3] m at rest, with expression. rotations: [J,3,3] global.

    Returns:
        Points [N,3] float32 and joints [J,3] float64, m; the root stays where it rests.
    """
    offsets = pose_correction(body, rotations) + expression_offset(body, expression, body.expression_offsets)
    positions = bone_positions(joints, body.parents, rotations)
    moved = (points + offsets[sources]).astype(np.float32)
    return skin(moved, weights, joints, rotations, positions), positions


def expression_offset(body: SmplBody, expression: tuple[float, ...], offsets: np.ndarray) -> np.ndarray:
    """What an expression adds at rest to whatever `offsets` [E,N,3] tells of, [N,3] m."""
    return np.tensordot(_coefficients(expression, len(body.expression_offsets), "expression", body), offsets, 1)


def pose_correction(body: SmplBody, rotations: np.ndarray) -> np.ndarray:
    """Offsets [V,3] at rest, m, that mend what linear skinning does to the shape of joints.

    Linear in the local rotation matrices less identity, in the model's own axes (Loper et al., "SMPL", 2015, eq. 9).

    Args:
        rotations: [J,3,3] global.
    """
    local = local_from_global(rotations, tuple(body.parents))[1:]
    features = (WORLD_FROM_MODEL.T @ local @ WORLD_FROM_MODEL - np.eye(3)).reshape(-1).astype(np.float32)
    return (features @ body.pose_offsets.reshape(len(features), -1)).reshape(-1, 3)


def _coefficients(values: tuple[float, ...], count: int, name: str, body: SmplBody) -> np.ndarray:
    if len(values) > count:
        raise ValueError(f"{name}: {len(values)} coefficients, but this {body.kind} model has {count}")
    return np.array([*values, *[0.0] * (count - len(values))])
