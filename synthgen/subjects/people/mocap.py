"""Motion clips as rotations of a few driver segments, and what can be done with a pose: blend, mirror, mix, limit.

Conventions: z up, the character faces -y, its left is +x. A pose is [D,3,3] global rotations in the order of DRIVERS;
the zero pose (all identity) stands with arms and legs straight down. Angles are radians, rotation vectors likewise.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from posecore.transforms import (
    global_from_local,
    local_from_global,
    matrix_from_quaternion,
    matrix_from_rotvec,
    quaternion_from_matrix,
    rotvec_from_matrix,
)

DRIVERS = (
    "root", "chest", "neck", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip
DRIVER_PARENTS = (-1, 0, 1, 0, 3, 4, 0, 6, 7, 1, 9, 10, 1, 12, 13)

_LOWER = tuple(DRIVERS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("hip", "knee", "ankle"))
_SWAP = tuple(
    DRIVERS.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
    for name in DRIVERS
)

# Columns of a frame in pybullet's humanoid3d files, after the duration: quaternions (w, x, y, z), or one hinge angle.
_COLUMNS = {
    "root": slice(3, 7), "chest": slice(7, 11), "neck": slice(11, 15), "right_hip": slice(15, 19), "right_knee": 19,
    "right_ankle": slice(20, 24), "right_shoulder": slice(24, 28), "right_elbow": 28, "left_hip": slice(29, 33),
    "left_knee": 33, "left_ankle": slice(34, 38), "left_shoulder": slice(38, 42), "left_elbow": 42,
}  # fmt: skip
_NUM_COLUMNS = 44
# pybullet's axes (x forward, y up, z to the character's right) to ours.
_WORLD_FROM_CLIP = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

# Hinges: the joint turns about x between two angles; what else it does is held within `other`.
_HINGES = {"knee": (0.0, 2.7, 0.2), "elbow": (-2.6, 0.0, 0.7)}
# Limbs: how far they rise from hanging down (degrees) by the azimuth in which they point then (0 ahead, 90 outwards,
# 180 behind), and the range of their twist (radians, + outwards).
_LIMBS = {
    "hip": ((-180, -135, -90, -45, -30, 0, 45, 90, 135, 180), (30, 30, 35, 80, 115, 140, 130, 70, 45, 30), (-0.9, 1.4)),
    "shoulder": (
        (-180, -135, -90, -45, -30, 0, 90, 115, 135, 160, 180),
        (60, 45, 60, 125, 145, 178, 178, 150, 90, 75, 60),
        (-1.75, 1.65),
    ),
}
# Ball joints: ranges of the rotation vector's components for the LEFT side; y and z are negated for the right.
_BALLS = {
    "ankle": ((-1.0, 0.9), (-0.7, 0.7), (-0.8, 0.8)),
    "wrist": ((-1.2, 1.2), (-0.5, 0.5), (-1.2, 1.2)),
    "chest": ((-0.6, 1.3), (-0.7, 0.7), (-1.0, 1.0)),
    "neck": ((-0.9, 0.9), (-0.7, 0.7), (-1.2, 1.2)),
}

# The same by driver, with the right side mirrored.
_JOINT_NAMES = tuple(name.removeprefix("left_").removeprefix("right_") for name in DRIVERS)
_SIDES = np.array([-1.0 if name.startswith("right_") else 1.0 for name in DRIVERS])
_HINGE_DRIVERS = [driver for driver, name in enumerate(_JOINT_NAMES) if name in _HINGES]
*_HINGE_RANGES, _HINGE_OTHER = np.array([_HINGES[_JOINT_NAMES[driver]] for driver in _HINGE_DRIVERS]).T
_LIMB_DRIVERS = [driver for driver, name in enumerate(_JOINT_NAMES) if name in _LIMBS]
_LIMB_NAMES, _LIMB_SIDES = [_JOINT_NAMES[driver] for driver in _LIMB_DRIVERS], _SIDES[_LIMB_DRIVERS]
_LIMB_TWISTS = np.array([_LIMBS[name][2] for name in _LIMB_NAMES]).T
_BALL_DRIVERS = [driver for driver, name in enumerate(_JOINT_NAMES) if name in _BALLS]
_BALL_RANGES = (
    np.array([_BALLS[_JOINT_NAMES[driver]] for driver in _BALL_DRIVERS])
    * np.stack([np.ones(len(_BALL_DRIVERS)), *[_SIDES[_BALL_DRIVERS]] * 2], axis=1)[..., None]
)
_BALL_LOWEST, _BALL_HIGHEST = _BALL_RANGES.min(axis=2), _BALL_RANGES.max(axis=2)

# The figure that clips are measured by, which is pybullet's (humanoid.urdf), m: where each driver's joint lies from its
# parent's with arms and legs straight down.
_FIGURE_M = {
    "chest": (0, 0, 0.236), "neck": (0, 0, 0.224), "left_hip": (0.085, 0, 0), "left_knee": (0, 0, -0.422),
    "left_ankle": (0, 0, -0.410), "left_shoulder": (0.183, 0.024, 0.244), "left_elbow": (0, 0, -0.275),
    "left_wrist": (0, 0, -0.259),
}  # fmt: skip
FIGURE_LEG_M = 0.832
# Balls (driver, centre from its joint, radius, m) that touch the ground where that figure does: heel, ball of the foot,
# knee, hand, elbow, head, seat, chest.
_FIGURE_BALLS_M = (
    ("left_ankle", (0, 0.04, -0.03), 0.02), ("left_ankle", (0, -0.13, -0.03), 0.02), ("left_knee", (0, 0, 0), 0.05),
    ("left_wrist", (0, 0, 0), 0.04), ("left_elbow", (0, 0, 0), 0.04), ("neck", (0, 0, 0.175), 0.1),
    ("root", (0, 0, 0), 0.09), ("chest", (0, 0, 0), 0.11),
)  # fmt: skip
_GROUND_PERCENTILE = 20  # every clip stands on the ground for at least this share of its frames
_GROUND_NOISE_M = 0.03  # a figure that is raised by less than this touches the ground
_MOST_BLENDED_TILT_RAD = 1.0
# A clip whose last frame is this near to its first one goes on from there; the rest of the difference is spread over
# the time before the end.
_LOOP_MISMATCH_RAD = 0.65
_LOOP_TURN_RAD = 0.6
_LOOP_SEAM_S = 0.3


@dataclass(frozen=True, eq=False)
class Clip:
    """A recorded motion.

    Attributes:
        name: e.g. "walk".
        dt_s: time between frames.
        root_m: [T,3] position of the pelvis, m, for a figure whose thigh and shin are FIGURE_LEG_M long.
        rotations: [T,D,3,3] global rotations of DRIVERS.
    """

    name: str
    dt_s: float
    root_m: np.ndarray
    rotations: np.ndarray

    @property
    def duration_s(self) -> float:
        return self.dt_s * (len(self.rotations) - 1)

    @cached_property
    def loops(self) -> bool:
        """Whether the last pose is near enough to the first one for the motion to go on from there."""
        first, last = (local_from_global(_facing_ahead(self.rotations[t]), DRIVER_PARENTS) for t in (0, -1))
        turn = heading(self.rotations[-1, 0]) - heading(self.rotations[0, 0])
        mismatch = np.linalg.norm(rotvec_from_matrix(np.swapaxes(last, -1, -2) @ first), axis=-1).max()
        return bool(mismatch < _LOOP_MISMATCH_RAD and abs((turn + np.pi) % (2 * np.pi) - np.pi) < _LOOP_TURN_RAD)

    @cached_property
    def seamless_local(self) -> np.ndarray:
        """[T,D,3,3] local rotations; those of a clip that loops turn towards the first frame's before the end and meet
        them there."""
        local = local_from_global(self.rotations, DRIVER_PARENTS)
        if not self.loops:
            return local
        left_s = self.dt_s * np.arange(len(local))[::-1]
        share = np.clip(1 - left_s / min(_LOOP_SEAM_S, self.duration_s), 0, 1)
        mismatch = rotvec_from_matrix(np.swapaxes(local[-1], -1, -2) @ local[0])
        return local @ matrix_from_rotvec(share[:, None, None] * mismatch)

    @cached_property
    def clearance_m(self) -> np.ndarray:
        """[T] how far the lowest point of the body is above the ground, m; 0 but in jumps and flips.

        Measured on the figure; what it floats by in the frames that touch the ground is taken out.
        """
        joints = figure_joints(self.rotations)
        lowest = np.full(len(self.rotations), np.inf)
        for name, centre, radius in _FIGURE_BALLS_M:
            for driver in {DRIVERS.index(name), DRIVERS.index(name.replace("left", "right"))}:
                ball = joints[:, driver] + self.rotations[:, driver] @ np.array(centre)
                lowest = np.minimum(lowest, ball[:, 2] - radius)
        above = self.root_m[:, 2] + lowest
        ground = max(0.0, np.percentile(above, _GROUND_PERCENTILE))
        return np.maximum(0, above - ground - _GROUND_NOISE_M)


@dataclass(frozen=True, eq=False)
class Moment:
    """A clip at one time.

    Attributes:
        local: [D,3,3] local rotations; the root's is global.
        travel_m: [2] how far the pelvis has moved along x and y since the clip's first frame, on the figure.
        clearance_m: how far the lowest point is above the ground, on the figure.
    """

    local: np.ndarray
    travel_m: np.ndarray
    clearance_m: float


def load_clips(folder: Path) -> dict[str, Clip]:
    """Read every humanoid3d_NAME.txt (DeepMimic's format, as pybullet carries it) of a folder.

    Raises:
        ValueError: no clip there, or a frame without 44 numbers.
    """
    files = sorted(Path(folder).glob("humanoid3d_*.txt"))
    if not files:
        raise ValueError(f"no humanoid3d_*.txt in {folder}: pass pybullet_data/data/motions of pybullet==3.2.7")
    return {clip.name: clip for clip in map(_read_clip, files)}


def figure_joints(pose: np.ndarray) -> np.ndarray:
    """Where the drivers' joints [...,D,3] of the figure are in a pose [...,D,3,3], m from its pelvis."""
    joints = np.zeros(pose.shape[:-1])
    for driver, name in enumerate(DRIVERS[1:], start=1):
        parent = DRIVER_PARENTS[driver]
        joints[..., driver, :] = joints[..., parent, :] + pose[..., parent, :, :] @ _on_figure(_FIGURE_M, name)
    return joints


def clip_place(clip: Clip, time_s: float) -> tuple[int, int, float]:
    """Where a clip is at any time from 0 on: rounds done, the frame before, the share of the way to the next frame.

    A clip that loops goes on from its first frame; another one runs back and forth.

    Raises:
        ValueError: time_s is below 0.
    """
    if time_s < 0:
        raise ValueError(f"time_s={time_s} of clip {clip.name!r} lies before its beginning: give 0 or more")
    rounds, within_s = divmod(time_s, clip.duration_s)
    if time_s == clip.duration_s:
        rounds, within_s = 0, clip.duration_s
    if not clip.loops and rounds % 2:
        within_s = clip.duration_s - within_s
    position = min(within_s / clip.dt_s, len(clip.rotations) - 1)
    frame = min(int(position), len(clip.rotations) - 2)
    return int(rounds), frame, position - frame


def clip_moment(clip: Clip, time_s: float) -> Moment:
    """The clip at any time from 0 on, turned along the shortest arc between the two nearest frames.

    A clip that loops goes on where it has arrived by then.

    Raises:
        ValueError: time_s is below 0.
    """
    rounds, frame, share = clip_place(clip, time_s)

    def between(values: np.ndarray) -> np.ndarray:
        return values[frame] + share * (values[frame + 1] - values[frame])

    travel_m = between(clip.root_m[:, :2]) - clip.root_m[0, :2]
    if clip.loops:
        travel_m = travel_m + rounds * (clip.root_m[-1, :2] - clip.root_m[0, :2])
    return Moment(
        local=interpolate(clip.seamless_local[frame], clip.seamless_local[frame + 1], share),
        travel_m=travel_m,
        clearance_m=float(between(clip.clearance_m)),
    )


def heading(root: np.ndarray) -> float:
    """Which way a pelvis [3,3] heads, radians about z; 0 is -y. A standing one heads where the belly points, a lying or
    crawling one where the head lies: the sum of both directions is never vertical in between."""
    belly_and_spine = root @ np.array([0.0, -1.0, 1.0])
    return float(np.arctan2(belly_and_spine[0], -belly_and_spine[1]))


def interpolate(start: np.ndarray, end: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Turn rotations [...,3,3] from start to end along the shortest arc; share 0 gives start, 1 gives end."""
    turn = rotvec_from_matrix(np.swapaxes(start, -1, -2) @ end)
    return start @ matrix_from_rotvec(turn * np.asarray(share)[..., None])


MIRROR = np.diag([-1.0, 1.0, 1.0])


def mirror_pose(pose: np.ndarray) -> np.ndarray:
    """The pose, of local or global rotations, seen in a mirror: left and right swapped, reflected in x = 0."""
    return MIRROR @ pose[list(_SWAP)] @ MIRROR


def mix(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Local rotations: pelvis and legs of one pose, spine, head and arms of another."""
    result = upper.copy()
    result[[0, *_LOWER]] = lower[[0, *_LOWER]]
    return result


def blend(first: Moment, second: Moment, share: float) -> Moment:
    """Every joint turned along the shortest arc from the first moment (share 0) to the second (share 1).

    The pelvis is first turned so that both head the same way. It follows less, the more they differ in tilt: halfway
    between standing and lying nothing would hold the body.
    """
    start, end = first.local, second.local.copy()
    end[0] = matrix_from_rotvec(np.array([0, 0, heading(start[0]) - heading(end[0])])) @ end[0]
    tilt = np.arccos(np.clip(start[0, :, 2] @ end[0, :, 2], -1, 1))
    root_share = share * max(0.0, 1 - tilt / _MOST_BLENDED_TILT_RAD)
    shares = np.array([root_share, *[share] * (len(start) - 1)])
    return Moment(
        local=interpolate(start, end, shares),
        travel_m=first.travel_m + root_share * (second.travel_m - first.travel_m),
        clearance_m=first.clearance_m + root_share * (second.clearance_m - first.clearance_m),
    )


def turn_joints(local: np.ndarray, rotvecs: dict[str, tuple[float, float, float]]) -> np.ndarray:
    """Turn named drivers of local rotations [D,3,3] by rotation vectors (radians) in their own frames.

    Raises:
        ValueError: unknown driver.
    """
    result = local.copy()
    for name, rotvec in rotvecs.items():
        if name not in DRIVERS:
            raise ValueError(f"jitter: no joint {name!r}; known: {', '.join(DRIVERS)}")
        result[DRIVERS.index(name)] = local[DRIVERS.index(name)] @ matrix_from_rotvec(np.array(rotvec))
    return result


def limit_joints(local: np.ndarray) -> np.ndarray:
    """Local rotations [D,3,3] with every joint brought into an anatomical range.

    Knees and elbows do not bend backwards nor sideways. The ranges are rough values from anatomy, wide enough to leave
    the packaged clips nearly as they are.
    """
    result = local.copy()
    result[_HINGE_DRIVERS] = _limit_hinges(local[_HINGE_DRIVERS])
    result[_LIMB_DRIVERS] = _limit_limbs(local[_LIMB_DRIVERS])
    rotvecs = rotvec_from_matrix(local[_BALL_DRIVERS])
    result[_BALL_DRIVERS] = matrix_from_rotvec(np.clip(rotvecs, _BALL_LOWEST, _BALL_HIGHEST))
    return result


def align(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotations [...,3,3] that turn directions start [...,3] into directions end [...,3]."""
    a = start / np.linalg.norm(start, axis=-1, keepdims=True)
    b = end / np.linalg.norm(end, axis=-1, keepdims=True)
    axis, cosine = _cross(a, b), np.clip((a * b).sum(-1), -1, 1)
    opposite = cosine < -1 + 1e-9
    if opposite.any():
        side = np.eye(3)[np.abs(a).argmin(-1)]
        axis = np.where(opposite[..., None], _cross(a, side), axis)
    sine = np.linalg.norm(axis, axis=-1)
    angle = np.where(opposite, np.pi, np.arctan2(sine, cosine))
    return matrix_from_rotvec(axis * (angle / np.maximum(sine, 1e-12))[..., None])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.cross of small arrays spends most of its time on looking at their axes."""
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]


def _limit_hinges(rotations: np.ndarray) -> np.ndarray:
    """Split into a turn about x and the rest (swing-twist), limit both, and put them together again."""
    quaternions = quaternion_from_matrix(rotations)
    angles = _wrapped(2 * np.arctan2(quaternions[:, 1], quaternions[:, 0]))
    about_x = np.array([1.0, 0.0, 0.0])
    rests = rotvec_from_matrix(matrix_from_rotvec(-angles[:, None] * about_x) @ rotations)
    rests *= np.minimum(1, _HINGE_OTHER / np.maximum(np.linalg.norm(rests, axis=1), 1e-12))[:, None]
    limited = np.clip(angles, *_HINGE_RANGES)
    return matrix_from_rotvec(limited[:, None] * about_x) @ matrix_from_rotvec(rests)


def _limit_limbs(rotations: np.ndarray) -> np.ndarray:
    """Split into a twist about the limb and the swing after it, limit both, and put them together again."""
    quaternions = quaternion_from_matrix(rotations)
    twists = _wrapped(2 * np.arctan2(quaternions[:, 3], quaternions[:, 0]))
    about_z = np.array([0.0, 0.0, 1.0])
    swings = rotvec_from_matrix(rotations @ matrix_from_rotvec(-twists[:, None] * about_z))
    azimuths_deg = np.degrees(np.arctan2(-_LIMB_SIDES * swings[:, 1], -swings[:, 0]))
    most = [np.interp(deg, *_LIMBS[name][:2]) for deg, name in zip(azimuths_deg, _LIMB_NAMES, strict=True)]
    swings *= np.minimum(1, np.radians(most) / np.maximum(np.linalg.norm(swings, axis=1), 1e-12))[:, None]
    limited = _LIMB_SIDES * np.clip(_LIMB_SIDES * twists, *_LIMB_TWISTS)
    return matrix_from_rotvec(swings) @ matrix_from_rotvec(limited[:, None] * about_z)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _facing_ahead(pose: np.ndarray) -> np.ndarray:
    return matrix_from_rotvec(np.array([0, 0, -heading(pose[0])])) @ pose


def _on_figure(table: dict[str, tuple[float, float, float]], name: str) -> np.ndarray:
    """An entry of a table that is written for the left side only."""
    if name in table:
        return np.array(table[name], float)
    return np.array(table[name.replace("right", "left")], float) * [-1, 1, 1]


def _read_clip(file: Path) -> Clip:
    frames = np.array(json.loads(file.read_text())["Frames"], np.float64)
    if frames.ndim != 2 or frames.shape[1] != _NUM_COLUMNS:
        raise ValueError(f"{file}: frames hold {frames.shape[1:]} numbers, expected {_NUM_COLUMNS}")
    values = frames[:, 1:]
    local = np.tile(np.eye(3), (len(frames), len(DRIVERS), 1, 1))
    for name, column in _COLUMNS.items():
        if isinstance(column, slice):
            turn = matrix_from_quaternion(values[:, column])
        else:
            turn = matrix_from_rotvec(values[:, column, None] * np.array([0.0, 0.0, 1.0]))
        local[:, DRIVERS.index(name)] = _WORLD_FROM_CLIP @ turn @ _WORLD_FROM_CLIP.T
    return Clip(
        name=file.stem.removeprefix("humanoid3d_"),
        dt_s=float(frames[0, 0]),
        root_m=values[:, :3] @ _WORLD_FROM_CLIP.T,
        rotations=global_from_local(local, DRIVER_PARENTS),
    )
