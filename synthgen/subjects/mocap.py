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
# Ball joints: ranges of the rotation vector's components for the LEFT side; y and z are negated for the right.
_BALLS = {
    "hip": ((-2.55, 0.8), (-1.5, 0.6), (-1.0, 1.0)),
    "ankle": ((-1.0, 0.9), (-0.7, 0.7), (-0.8, 0.8)),
    "wrist": ((-1.2, 1.2), (-0.5, 0.5), (-1.2, 1.2)),
}
_CENTRE_BALLS = {"chest": ((-0.6, 1.3), (-0.7, 0.7), (-1.0, 1.0)), "neck": ((-0.9, 0.9), (-0.7, 0.7), (-1.2, 1.2))}


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
    def seamless(self) -> np.ndarray:
        """`rotations`; those of a clip that loops turn towards the first frame before the end and meet it there."""
        if not self.loops:
            return self.rotations
        local = local_from_global(self.rotations, DRIVER_PARENTS)
        left_s = self.dt_s * np.arange(len(local))[::-1]
        share = np.clip(1 - left_s / min(_LOOP_SEAM_S, self.duration_s), 0, 1)
        mismatch = rotvec_from_matrix(np.swapaxes(local[-1], -1, -2) @ local[0])
        return global_from_local(local @ matrix_from_rotvec(share[:, None, None] * mismatch), DRIVER_PARENTS)

    @cached_property
    def clearance_m(self) -> np.ndarray:
        """[T] how far the lowest point of the body is above the ground, m; 0 but in jumps and flips.

        Measured on the figure; what it floats by in the frames that touch the ground is taken out.
        """
        joints = np.zeros((len(DRIVERS), len(self.rotations), 3))
        for driver, name in enumerate(DRIVERS[1:], start=1):
            parent = DRIVER_PARENTS[driver]
            joints[driver] = joints[parent] + self.rotations[:, parent] @ _on_figure(_FIGURE_M, name)
        lowest = np.full(len(self.rotations), np.inf)
        for name, centre, radius in _FIGURE_BALLS_M:
            for driver in {DRIVERS.index(name), DRIVERS.index(name.replace("left", "right"))}:
                ball = joints[driver] + self.rotations[:, driver] @ np.array(centre)
                lowest = np.minimum(lowest, ball[:, 2] - radius)
        above = self.root_m[:, 2] + lowest
        ground = max(0.0, np.percentile(above, _GROUND_PERCENTILE))
        return np.maximum(0, above - ground - _GROUND_NOISE_M)


@dataclass(frozen=True, eq=False)
class Moment:
    """A clip at one time.

    Attributes:
        pose: [D,3,3] global rotations.
        travel_m: [2] how far the pelvis has moved along x and y since the clip's first frame, on the figure.
        clearance_m: how far the lowest point is above the ground, on the figure.
    """

    pose: np.ndarray
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


def clip_moment(clip: Clip, time_s: float) -> Moment:
    """The clip at any time from 0 on, turned along the shortest arc between the two nearest frames.

    A clip that loops goes on from its first frame where it has arrived by then; another one runs back and forth.

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
    share = position - frame

    def between(values: np.ndarray) -> np.ndarray:
        return values[frame] + share * (values[frame + 1] - values[frame])

    travel_m = between(clip.root_m[:, :2]) - clip.root_m[0, :2]
    if clip.loops:
        travel_m = travel_m + rounds * (clip.root_m[-1, :2] - clip.root_m[0, :2])
    return Moment(
        pose=interpolate(clip.seamless[frame], clip.seamless[frame + 1], share),
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


def mirror_pose(pose: np.ndarray) -> np.ndarray:
    """The pose seen in a mirror: left and right swapped, reflected in the plane x = 0."""
    reflection = np.diag([-1.0, 1.0, 1.0])
    return reflection @ pose[list(_SWAP)] @ reflection


def mix(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Pelvis and legs of one pose, and what the spine, head and arms of another do relative to its pelvis."""
    local = local_from_global(upper, DRIVER_PARENTS)
    local_lower = local_from_global(lower, DRIVER_PARENTS)
    for driver in (0, *_LOWER):
        local[driver] = local_lower[driver]
    return global_from_local(local, DRIVER_PARENTS)


def turn_joints(pose: np.ndarray, rotvecs: dict[str, tuple[float, float, float]]) -> np.ndarray:
    """Turn named drivers by rotation vectors (radians) in their own frames; children follow.

    Raises:
        ValueError: unknown driver.
    """
    local = local_from_global(pose, DRIVER_PARENTS)
    for name, rotvec in rotvecs.items():
        if name not in DRIVERS:
            raise ValueError(f"jitter: no joint {name!r}; known: {', '.join(DRIVERS)}")
        local[DRIVERS.index(name)] = local[DRIVERS.index(name)] @ matrix_from_rotvec(np.array(rotvec))
    return global_from_local(local, DRIVER_PARENTS)


def limit_joints(pose: np.ndarray) -> np.ndarray:
    """Bring every joint into an anatomical range: knees and elbows do not bend backwards nor sideways.

    The ranges are rough values from anatomy, wide enough to leave the packaged clips nearly as they are. Shoulders are
    not limited.
    """
    local = local_from_global(pose, DRIVER_PARENTS)
    for driver, name in enumerate(DRIVERS):
        joint = name.removeprefix("left_").removeprefix("right_")
        if joint in _HINGES:
            local[driver] = _limit_hinge(local[driver], *_HINGES[joint])
        elif joint in _BALLS or joint in _CENTRE_BALLS:
            ranges = np.array(_BALLS.get(joint) or _CENTRE_BALLS[joint])
            if name.startswith("right_"):
                ranges[1:] = -ranges[1:, ::-1]
            local[driver] = matrix_from_rotvec(np.clip(rotvec_from_matrix(local[driver]), ranges[:, 0], ranges[:, 1]))
    return global_from_local(local, DRIVER_PARENTS)


def align(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation [3,3] that turns direction start [3] into direction end [3]."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    if a @ b < -1 + 1e-9:
        side = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        return matrix_from_rotvec(np.pi * side / np.linalg.norm(side))
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return matrix_from_rotvec(axis / max(sine, 1e-12) * np.arctan2(sine, a @ b))


def _facing_ahead(pose: np.ndarray) -> np.ndarray:
    return matrix_from_rotvec(np.array([0, 0, -heading(pose[0])])) @ pose


def _on_figure(table: dict[str, tuple[float, float, float]], name: str) -> np.ndarray:
    """An entry of a table that is written for the left side only."""
    if name in table:
        return np.array(table[name], float)
    return np.array(table[name.replace("right", "left")], float) * [-1, 1, 1]


def _limit_hinge(rotation: np.ndarray, low: float, high: float, other: float) -> np.ndarray:
    """Split into a turn about x and the rest (swing-twist), limit both, and put them together again."""
    w, x, _, _ = quaternion_from_matrix(rotation)
    angle = 2 * np.arctan2(x, w)
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    rest = rotvec_from_matrix(matrix_from_rotvec(np.array([-angle, 0, 0])) @ rotation)
    rest *= min(1.0, other / max(np.linalg.norm(rest), 1e-12))
    return matrix_from_rotvec(np.array([np.clip(angle, low, high), 0, 0])) @ matrix_from_rotvec(rest)


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
