"""The four-legged subject: any base animal in any build, posed and standing on the ground.

Conventions: metres, z up, at heading 0 the animal faces -y and its left is +x. Every bone rotation is global and
relative to the standing rest pose (identity at rest). Nothing here draws random numbers. What the mesh is: animal_rig,
animal_bake; what builds are: animal_shape, animal_species; what poses are: animal_pose, gaits.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec
from synthgen.subjects.animal_pose import QuadrupedPose, cycle_s, strike
from synthgen.subjects.animal_rig import BONE, BONES, PARENTS, PART_NAMES, AnimalBody, AnimalClip
from synthgen.subjects.animal_shape import AnimalFigure, QuadrupedShape, shape_animal, sided
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.skinning import bone_positions, skin

TEXTURE_ASSET = "texture/dog"
"""The photographed short fur that the dog's texture coordinates point into."""

_ROTATION_BONES = {
    "left_eye": "head", "nose": "head", "neck": "neck1", "tail_root": "pelvis", "left_shoulder": "upper_arm_L",
    "left_elbow": "forearm_L", "left_front_paw": "finger_L", "left_hip": "thigh_L", "left_knee": "shin_L",
    "left_back_paw": "foot_L", "left_ear": "head", "tail_tip": "tail6", "withers": "spine2", "throat": "neck3",
    "left_stifle": "shin_L", "left_hock": "cannon_L", "left_front_hoof": "finger_L", "left_back_hoof": "foot_L",
}  # fmt: skip
_PAWS = ("left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw")
_STEPS = 32  # moments of a cycle that tell how an animal gets on
_STANDS_HIPS = 0.02  # a paw this high above where it stands at rest, in heights of the hip, counts a third
_ROUNDS = 3
_TOUCH_M = 0.002
_NECK_CHAIN, _TAIL_CHAIN = (
    np.array([bone for bone, name in enumerate(BONES) if name.startswith(stems)])
    for stems in (("neck2", "neck3", "head", "jaw", "ear"), ("tail",))
)


@dataclass(frozen=True, eq=False)
class AnimalLibrary:
    """All bases that a recipe's animals need, by name, and all clips, by "BASE/ACTION"."""

    bodies: dict[str, AnimalBody]
    clips: dict[str, AnimalClip]


def pose_quadruped(
    animals: AnimalLibrary,
    shape: QuadrupedShape,
    pose: QuadrupedPose,
    position_m: tuple[float, float] = (0.0, 0.0),
) -> PosedSubject:
    """Morph, pose and ground an animal.

    The animal is pitched and lowered or raised until the lowest points of its fore and hind parts touch z = 0, or are
    as high as the clip's are in jumps.

    Args:
        position_m: x and y of the middle between shoulders and hips when the pose's sequence began, world.

    Returns:
        Joints in the order of the skeleton `quadruped`; rotations relative to the standing rest pose.

    Raises:
        ValueError: a base or a clip that the library has not.
    """
    body = _body(animals, shape.base)
    figure = shape_animal(body, shape)
    rotations, positions = _grounded(animals.clips, body.base, figure, pose)
    joints = _joints(figure, rotations, positions)
    middle = joints[_middle_joints(), :2].mean(0)
    turn = matrix_from_rotvec(np.array([0, 0, np.radians(pose.heading_deg)]))
    place = np.array([*position_m, 0.0]) + turn @ [*(_travel_m(animals.clips, body.base, figure, pose) - middle), 0.0]
    rotations, positions, joints = turn @ rotations, positions @ turn.T + place, joints @ turn.T + place
    vertices = skin(figure.vertices, figure.weights, figure.heads, rotations, positions)
    sunk_m = min(float(vertices[:, 2].min()), 0.0)
    vertices[:, 2] -= sunk_m
    joints[:, 2] -= sunk_m
    skeleton = load_skeleton("quadruped")
    carried = rotations[[BONE[sided(_ROTATION_BONES, name)] for name in skeleton.joints]]
    return PosedSubject(
        vertices=vertices,
        faces=figure.faces,
        face_parts=figure.face_parts,
        part_names=PART_NAMES,
        rest=figure.vertices,
        joints_world=joints,
        joints_rest=figure.joint_from_points @ np.concatenate([figure.heads, figure.markers]),
        rotations=local_from_global(carried, skeleton.parents),
        limb_radius_m=figure.limb_radius_m,
        skeleton="quadruped",
        uv=figure.uv,
        texture_asset=None if figure.uv is None else TEXTURE_ASSET,
        coat_frame=figure.coat_frame,
    )


def _body(animals: AnimalLibrary, base: str) -> AnimalBody:
    if base not in animals.bodies:
        raise ValueError(f"QuadrupedShape.base={base!r}: only {', '.join(sorted(animals.bodies))} are loaded")
    return animals.bodies[base]


def _joints(figure: AnimalFigure, rotations: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """[J,3] joints of the skeleton."""
    markers = skin(figure.markers, figure.marker_weights, figure.heads, rotations, positions)
    return figure.joint_from_points @ np.concatenate([positions, markers])


@cache
def _middle_joints() -> list[int]:
    joints = load_skeleton("quadruped").joints
    return [joints.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")]


def _grounded(
    clips: dict[str, AnimalClip], base: str, figure: AnimalFigure, pose: QuadrupedPose
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [B,3,3] and bone heads [B,3] at heading 0, standing on z = 0 (or above it in a leap)."""
    stance = strike(clips, base, figure.heads, pose)
    rotations, wanted_m = stance.rotations, stance.clearances * figure.hip_m
    positions = bone_positions(figure.heads, PARENTS, rotations)
    pitch = 0.0
    for _ in range(_ROUNDS):
        fore, hind = (_lowest(part, figure, rotations, positions) for part in (figure.fore, figure.hind))
        slope = (fore[2] - wanted_m[0]) - (hind[2] - wanted_m[1])
        wanted = pitch + np.arctan2(slope, max(hind[1] - fore[1], 0.3 * figure.hip_m))
        wanted = np.clip(wanted, -stance.most_pitch_rad, stance.most_pitch_rad)
        level, pitch = matrix_from_rotvec(np.array([wanted - pitch, 0, 0])), wanted
        rotations, positions = level @ rotations, positions @ level.T
    fore, hind = (_lowest(part, figure, rotations, positions) for part in (figure.fore, figure.hind))
    positions[:, 2] -= min(fore[2] - wanted_m[0], hind[2] - wanted_m[1])
    for chain, part in ((_NECK_CHAIN, figure.neck), (_TAIL_CHAIN, figure.tail)):
        _keep_above_ground(chain, part, figure, rotations, positions)
    return rotations, positions


def _lowest(
    part: tuple[np.ndarray, np.ndarray], figure: AnimalFigure, rotations: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """The lowest point [3] of a part's skin."""
    points = skin(*part, figure.heads, rotations, positions)
    return points[points[:, 2].argmin()].astype(np.float64)


def _keep_above_ground(
    chain: np.ndarray,
    part: tuple[np.ndarray, np.ndarray],
    figure: AnimalFigure,
    rotations: np.ndarray,
    positions: np.ndarray,
) -> None:
    """Turn neck and head, or the tail, up about their root until they are out of the ground; in place."""
    root = chain[0]
    for _ in range(_ROUNDS):
        low = _lowest(part, figure, rotations, positions)
        if low[2] > -_TOUCH_M:
            return
        arm = low - positions[root]
        reach = np.linalg.norm(arm[:2])
        axis = np.array([arm[1], -arm[0], 0]) / max(reach, 1e-6)
        turn = matrix_from_rotvec(axis * min(-low[2] / max(reach, 0.2 * figure.hip_m), 0.5))
        rotations[chain] = turn @ rotations[chain]
        positions[chain] = positions[root] + (positions[chain] - positions[root]) @ turn.T


def _travel_m(clips: dict[str, AnimalClip], base: str, figure: AnimalFigure, pose: QuadrupedPose) -> np.ndarray:
    """How far the animal has gone along x and y at heading 0 since its sequence began [2]."""
    if not pose.elapsed_s:
        return np.zeros(2)
    way = _way(_Clips(clips), base, figure, pose.motion, pose.stride, pose.mirrored)
    loops = pose.motion not in clips or clips[pose.motion].loops

    def gone(cycles: float) -> np.ndarray:
        whole, part = divmod(cycles, 1) if loops else (0, min(cycles, 1))
        at = part * (len(way) - 1)
        return whole * way[-1] + [np.interp(at, np.arange(len(way)), axis) for axis in way.T]

    return gone(pose.phase + pose.elapsed_s / cycle_s(clips, pose.motion)) - gone(pose.phase)


@dataclass(frozen=True, eq=False)
class _Clips:
    """Clips as the key of a cache: the same dict is the same key."""

    by_name: dict[str, AnimalClip]

    def __hash__(self) -> int:
        return id(self.by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Clips) and other.by_name is self.by_name


@lru_cache(maxsize=32)
def _way(clips: _Clips, base: str, figure: AnimalFigure, motion: str, stride: float, mirrored: bool) -> np.ndarray:
    """[N+1,2] how far a motion has carried the animal at N+1 moments of its cycle, m.

    The paws that are on the ground stay where they are, so that the body goes against their way under it; while all are
    in the air it goes on as before.
    """
    joints = load_skeleton("quadruped").joints
    paws = [joints.index(name) for name in _PAWS]
    places = []
    for step in range(_STEPS + 1):
        pose = QuadrupedPose(motion=motion, phase=min(step / _STEPS, 1 - 1e-9), stride=stride, mirrored=mirrored)
        moved = _joints(figure, *_grounded(clips.by_name, base, figure, pose))
        places.append(moved[paws] - [*moved[_middle_joints(), :2].mean(0), 0])
    places = np.array(places)
    at_rest_m = (figure.joint_from_points @ np.concatenate([figure.heads, figure.markers]))[paws, 2]
    height = np.maximum(0.5 * (places[1:, :, 2] + places[:-1, :, 2]) - at_rest_m, 0)
    grip = np.exp(-height / (_STANDS_HIPS * figure.hip_m))
    steps = -(grip[..., None] * np.diff(places[..., :2], axis=0)).sum(1) / np.maximum(grip.sum(1), 1e-9)[:, None]
    stands = grip.sum(1) > 0.3
    if not stands.any():
        return np.zeros((_STEPS + 1, 2))
    number = np.arange(_STEPS)
    steps = np.stack([np.interp(number, number[stands], axis[stands], period=_STEPS) for axis in steps.T], 1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])
