"""The four-legged subject: any base animal in any build, posed and standing on the ground.

Conventions: metres, z up, at heading 0 the animal faces -y and its left is +x. Every bone rotation is global and
relative to the standing rest pose (identity at rest). Nothing here draws random numbers. What the mesh is: rig,
bake; what builds are: shape, species; what poses are: pose, gaits.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec
from synthgen.subjects.animals.coat import Coat, combed, paint_coat
from synthgen.subjects.animals.contact import clear_legs
from synthgen.subjects.animals.pose import QuadrupedPose, cycle_s, strike
from synthgen.subjects.animals.rig import BONE, BONES, PARENTS, PART_NAMES, AnimalBody, AnimalClip
from synthgen.subjects.animals.shape import HOOFED, AnimalFigure, QuadrupedShape, shape_animal, sided
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.skinning import bone_positions, skin

TEXTURE_ASSET, TEXTURED_BASE = "texture/dog", "dog"
"""The photographed short fur, and the base whose texture coordinates point into it."""

_ROTATION_BONES = {
    "left_eye": "head", "nose": "head", "neck": "neck1", "tail_root": "pelvis", "left_shoulder": "upper_arm_L",
    "left_elbow": "forearm_L", "left_carpus": "hand_L", "left_front_paw": "finger_L", "left_hip": "thigh_L",
    "left_knee": "shin_L", "left_back_paw": "foot_L", "left_ear": "head", "tail_tip": "tail6", "withers": "spine2",
    "throat": "neck3", "left_stifle": "shin_L", "left_hock": "cannon_L", "left_front_hoof": "finger_L",
    "left_back_hoof": "foot_L",
}  # fmt: skip
_ROTATION_BONES_OF_HOOFED = _ROTATION_BONES | {
    "left_shoulder": "scapula_L", "left_elbow": "upper_arm_L", "left_carpus": "forearm_L",
}  # fmt: skip
_PAWS = ("left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw")
_STEPS = 32  # moments of a cycle that tell how an animal gets on
_STANDS_HIPS = 0.02  # a paw this high above where it stands at rest, in heights of the hip, counts a third
_GRIPS = 0.45
_MOST_SWING_RAD = 0.25
_REACHES = 2
_DAMPING = 0.08  # in heights of the hip: how far a nearly straight leg stays from being straightened
_STANDS_BELOW_HIPS = 0.03  # a paw lower than this is put on the ground, one twice as high is not
_SWUNG_AND_CARRIED = (
    (("upper_arm", "forearm", "hand"), ("finger",)),
    (("thigh", "shin", "cannon"), ("foot", "toe")),
)
_LEG_CHAINS = tuple(
    ([BONE[f"{name}_{end}"] for name in swung], [BONE[f"{name}_{end}"] for name in carried])
    for swung, carried in _SWUNG_AND_CARRIED
    for end in "LR"
)
"""In the order of _PAWS: bones that swing to put a paw elsewhere, and those of the paw, which keep their slope."""
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
    coat: Coat | None = None,
) -> PosedSubject:
    """Morph, pose, ground and paint an animal.

    The animal is pitched and lowered or raised until the lowest points of its fore and hind parts touch z = 0, or are
    as high as the clip's are in jumps.

    Args:
        position_m: x and y of the middle between shoulders and hips when the pose's sequence began, world.
        coat: what is painted on it; without one it has the plain colours of its materials.

    Returns:
        Joints in the order of the skeleton `quadruped`; rotations relative to the standing rest pose.

    Raises:
        ValueError: a base or a clip that the library has not.
    """
    body = _body(animals, shape.base)
    figure = shape_animal(body, shape)
    gone_m, footing = np.zeros(2), None
    if pose.moves:
        way = _way(_Clips(animals.clips), body.base, figure, pose.motion, pose.stride, pose.mirrored)
        now, footing = way.at(pose.phase + pose.elapsed_s / cycle_s(animals.clips, pose.motion))
        gone_m = now - way.at(pose.phase)[0]
    rotations, positions = _grounded(animals.clips, body.base, figure, pose, footing)
    self_penetration_m = clear_legs(figure.spheres, rotations, positions)
    joints = _joints(figure, rotations, positions)
    middle = joints[_middle_joints(), :2].mean(0)
    turn = matrix_from_rotvec(np.array([0, 0, np.radians(pose.heading_deg)]))
    place = np.array([*position_m, 0.0]) + turn @ [*(gone_m - middle), 0.0]
    rotations, positions, joints = turn @ rotations, positions @ turn.T + place, joints @ turn.T + place
    vertices = skin(figure.vertices, figure.weights, figure.heads, rotations, positions)
    sunk_m = min(float(vertices[:, 2].min()), 0.0)
    vertices[:, 2] -= sunk_m
    joints[:, 2] -= sunk_m
    skeleton = load_skeleton("quadruped")
    carriers = _ROTATION_BONES_OF_HOOFED if body.base in HOOFED else _ROTATION_BONES
    carried = rotations[[BONE[sided(carriers, name)] for name in skeleton.joints]]
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
        self_penetration_m=self_penetration_m,
        uv=figure.uv,
        place=combed(figure.vertices, figure.coat_frame),
        painting=None if coat is None else paint_coat(body, figure, coat),
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
    clips: dict[str, AnimalClip], base: str, figure: AnimalFigure, pose: QuadrupedPose, footing: "_Footing | None"
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [B,3,3] and bone heads [B,3] at heading 0, standing on z = 0 (or above it in a leap).

    Args:
        footing: where paws are put in a sequence, or None for wherever the pose puts them.
    """
    stance = strike(clips, base, figure.heads, pose)
    rotations, wanted_m = stance.rotations, stance.clearances * figure.hip_m
    positions = bone_positions(figure.heads, PARENTS, rotations)
    if footing is not None:
        for leg, shift in enumerate(footing.shifts):
            _reach(figure, rotations, positions, leg, np.array([*shift, 0.0]))
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
    _set_down(figure, rotations, positions)
    if footing is not None:
        _hold(figure, rotations, positions, footing)
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


@dataclass(frozen=True, eq=False)
class _Footing:
    """Where each of _PAWS is put at a moment.

    Attributes:
        shifts: [4,2] m off the place where the motion puts it; between two stances this fades over.
        places: [4,2] m from the middle between shoulders and hips, once it is put there.
        holds: [4] 1 while it stands on the ground and must not slide, 0 while it swings.
    """

    shifts: np.ndarray
    places: np.ndarray
    holds: np.ndarray


@dataclass(frozen=True, eq=False)
class _Way:
    """How a motion carries an animal along.

    Attributes:
        gone: [N+1,2] how far it has come at N+1 moments of the cycle, m.
        footing: of these moments, arrays [N+1,...].
        loops: whether the cycle goes on from its end.
    """

    gone: np.ndarray
    footing: _Footing
    loops: bool

    def at(self, cycles: float) -> tuple[np.ndarray, _Footing]:
        """Way [2] and footing so many cycles after the beginning of the first."""
        whole, part = divmod(cycles, 1) if self.loops else (0, min(cycles, 1))
        before = min(int(part * _STEPS), _STEPS - 1)
        share = part * _STEPS - before
        gone, *footing = (
            (1 - share) * values[before] + share * values[before + 1]
            for values in (self.gone, self.footing.shifts, self.footing.places, self.footing.holds)
        )
        return whole * self.gone[-1] + gone, _Footing(*footing)


@dataclass(frozen=True, eq=False)
class _Clips:
    """Clips as the key of a cache: the same dict is the same key."""

    by_name: dict[str, AnimalClip]

    def __hash__(self) -> int:
        return id(self.by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Clips) and other.by_name is self.by_name


@lru_cache(maxsize=32)
def _way(clips: _Clips, base: str, figure: AnimalFigure, motion: str, stride: float, mirrored: bool) -> _Way:
    """The way of a motion.

    Paws on the ground stay where they are, so that the body goes against their way under it; while all are in the air
    it goes on as before.
    """
    joints = load_skeleton("quadruped").joints
    paws = [joints.index(name) for name in _PAWS]
    places = []
    for step in range(_STEPS + 1):
        pose = QuadrupedPose(motion=motion, phase=min(step / _STEPS, 1 - 1e-9), stride=stride, mirrored=mirrored)
        moved = _joints(figure, *_grounded(clips.by_name, base, figure, pose, None))
        places.append(moved[paws] - [*moved[_middle_joints(), :2].mean(0), 0])
    places = np.array(places)
    at_rest_m = (figure.joint_from_points @ np.concatenate([figure.heads, figure.markers]))[paws, 2]
    grip = np.exp(-np.maximum(places[..., 2] - at_rest_m, 0) / (_STANDS_HIPS * figure.hip_m))
    loops = motion not in clips.by_name or clips.by_name[motion].loops
    both = np.sqrt(grip[1:] * grip[:-1])
    steps = -(both[..., None] * np.diff(places[..., :2], axis=0)).sum(1) / np.maximum(both.sum(1), 1e-9)[:, None]
    stands = both.sum(1) > 0.3
    if not stands.any():
        still = np.zeros((_STEPS + 1, len(paws), 2))
        return _Way(still[:, 0], _Footing(still, places[..., :2], still[..., 0]), loops)
    number = np.arange(_STEPS)
    steps = np.stack([np.interp(number, number[stands], axis[stands], period=_STEPS) for axis in steps.T], 1)
    gone = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])
    path = places[..., :2] + gone[:, None]
    holds = grip > _GRIPS
    shifts = [_shifts(path[:, paw], holds[:, paw], gone[-1] if loops else None) for paw in range(len(paws))]
    shifts = np.stack(shifts, 1)
    return _Way(gone, _Footing(shifts, places[..., :2] + shifts, holds.astype(float)), loops)


def _shifts(path: np.ndarray, stands: np.ndarray, each_cycle: np.ndarray | None) -> np.ndarray:
    """[N+1,2] what takes a paw from its path [N+1,2] to the middle of its way while it stands.

    Args:
        stands: [N+1]. each_cycle: [2] how far the path goes on in a cycle, or None if it ends.
    """
    if not stands.any():
        return np.zeros_like(path)
    if each_cycle is not None:  # two cycles, so that no stance is cut in two
        path = np.concatenate([path[:-1], path[:-1] + each_cycle, path[:1] + 2 * each_cycle])
        stands = np.concatenate([stands[:-1], stands[:-1], stands[:1]])
    edges = np.flatnonzero(np.diff(stands.astype(int))) + 1
    shifts = np.full(path.shape, np.nan)
    for run in np.split(np.arange(len(stands)), edges):
        if stands[run[0]]:
            shifts[run] = path[run].mean(0) - path[run]
    number, known = np.arange(len(stands)), ~np.isnan(shifts[:, 0])
    shifts = np.stack([np.interp(number, number[known], axis[known]) for axis in shifts.T], 1)
    if each_cycle is None:
        return shifts
    # A whole stance lies within the two cycles from half a cycle on.
    half = _STEPS // 2
    cycle = np.roll(shifts[half : half + _STEPS], half, axis=0)
    return np.concatenate([cycle, cycle[:1]])


def _hold(figure: AnimalFigure, rotations: np.ndarray, positions: np.ndarray, footing: _Footing) -> None:
    """Bring paws that stand, and that levelling the body has moved, back to their places, in place."""
    paws = [load_skeleton("quadruped").index(name) for name in _PAWS]
    joints = _joints(figure, rotations, positions)
    off = footing.places - (joints[paws, :2] - joints[_middle_joints(), :2].mean(0))
    for leg, move in enumerate(off * footing.holds[:, None]):
        _reach(figure, rotations, positions, leg, np.array([*move, 0.0]))


def _set_down(figure: AnimalFigure, rotations: np.ndarray, positions: np.ndarray) -> None:
    """Put paws that are hardly off the ground on it, in place."""
    for leg, part in enumerate(figure.paws):
        height = _lowest(part, figure, rotations, positions)[2]
        nearness = 1 - np.clip((height / figure.hip_m - _STANDS_BELOW_HIPS) / _STANDS_BELOW_HIPS, 0, 1)
        if height > _TOUCH_M and nearness:
            _reach(figure, rotations, positions, leg, np.array([0, 0, -height * nearness]))


def _reach(figure: AnimalFigure, rotations: np.ndarray, positions: np.ndarray, leg: int, move: np.ndarray) -> None:
    """Bend and swing a leg, by number in _PAWS, in place until its paw has moved by `move` [3], m, keeping its slope.

    Damped least squares over the leg's three hinges and a sideways swing at its upper end.
    """
    swung, carried = _LEG_CHAINS[leg]
    paw, target = carried[0], positions[carried[0]] + move
    for _ in range(_REACHES):
        left = target - positions[paw]
        arms = positions[paw] - positions[swung]
        along = np.stack([-arms[:, 2], arms[:, 1]])  # of y and z, for each hinge's turn about x
        damped = along @ along.T + (_DAMPING * figure.hip_m) ** 2 * np.eye(2)
        angles = along.T @ np.linalg.solve(damped, left[1:])
        sideways = -left[0] / max(-arms[0, 2], 0.3 * figure.hip_m)
        for number, angle in enumerate(np.clip(angles, -_MOST_SWING_RAD, _MOST_SWING_RAD)):
            turn = matrix_from_rotvec(np.array([angle, 0 if number else np.clip(sideways, -0.2, 0.2), 0]))
            below, pivot = swung[number:], positions[swung[number]].copy()
            before = positions[paw].copy()
            rotations[below] = turn @ rotations[below]
            positions[below] = pivot + (positions[below] - pivot) @ turn.T
            positions[carried] += turn @ (before - pivot) + pivot - before
