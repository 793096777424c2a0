"""Reads the user's own motion, BVH and AMASS-style npz, as clips of the driver segments that the packaged clips have.

Conventions: ours everywhere after reading (z up, facing -y, left = +x, metres). Every clip has the size of the packaged
ones (legs of 0.83 m) and starts over the origin with its lowest ankle at standing height, so that clips can be mixed.
BVH comes without a standard for names and axes: limbs are found by the usual names (CMU, Mixamo, Biped, Unreal,
Blender, SMPL, Human3.6M), the rest by the tree; the axes follow from the zero pose, in which a person must stand.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from posecore.transforms import global_from_local, matrix_from_rotvec
from synthgen.subjects.people.mocap import DRIVERS, FIGURE_LEG_M, Clip, align, figure_joints
from synthgen.subjects.smpl.bake import BODY_PARENTS, WORLD_FROM_MODEL
from synthgen.subjects.smpl.body import HANDS, JOINT_NAMES

SUFFIXES = (".bvh", ".npz")

# Height of the ankle of the packaged clips' figure over the ground, m.
_ANKLE_HEIGHT_M = 0.07

# Names of the joint that turns each driver, lower case without punctuation, best first; the side comes before or after.
_JOINT_NAMES = {
    "hip": ("upleg", "upperleg", "thigh", "hip"),
    "knee": ("knee", "lowleg", "lowerleg", "shin", "calf", "leg"),
    "ankle": ("ankle", "foot"),
    "shoulder": ("arm", "uparm", "upperarm", "shldr", "shoulder"),
    "elbow": ("elbow", "lowarm", "lowerarm", "forearm"),
    "wrist": ("wrist", "hand"),
    "neck": ("head", "headtop", "nose", "neck1", "neck"),
}
_NAME_PREFIXES = re.compile(r"^(mixamorig\d*|bip0*1)")
# The joint at the far end of each limb's segment: its place at rest says where the segment points.
_SEGMENT_ENDS = {
    "hip": ("hip", "knee"), "knee": ("knee", "ankle"), "shoulder": ("shoulder", "elbow"), "elbow": ("elbow", "wrist"),
    "wrist": ("elbow", "wrist"),
}  # fmt: skip
_DOWN = np.array([0.0, 0.0, -1.0])
# How far the zero pose's spine and hips may lie off the file's axes before it counts as no upright stand.
_UPRIGHT_DEG = 40
_STANDING_COSINE = 0.7

# Which joint of SMPL turns each driver, and what a row of an AMASS file of that many numbers holds: the joints of SMPL
# (without the two hands, which never move), SMPL-H or SMPL-X.
_SMPL_DRIVERS = {
    "root": "pelvis", "chest": "spine3", "neck": "head",
    **{f"{side}_{name}": f"{side}_{name}" for side in ("left", "right")
       for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")},
}  # fmt: skip
_AMASS_JOINTS = {72: JOINT_NAMES["smpl"][:22], 156: JOINT_NAMES["smplh"], 165: JOINT_NAMES["smplx"]}
# Thigh plus shank of an average SMPL body, m, rounded: scales the path of the root alone.
_SMPL_LEG_M = 0.8


@dataclass(frozen=True, eq=False)
class SmplClip(Clip):
    """A motion recorded on SMPL, SMPL-H or SMPL-X, with all that its joints do.

    Attributes:
        joints: names of the J first joints, as in the skeleton `human`, and of fingers if there are any.
        joint_turns: [T,J,3,3] their global rotations out of the T-pose, in our axes.
    """

    joints: tuple[str, ...]
    joint_turns: np.ndarray


@dataclass(frozen=True, eq=False)
class _BvhJoint:
    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Bvh:
    """A BVH file as it is: names, parents before children, offsets [J,3] in the file's units, global rotations
    [T,J,3,3] and positions [T,J,3] in the file's axes and units, seconds between frames."""

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    rotations: np.ndarray
    positions: np.ndarray
    dt_s: float


def is_motion_file(name: str) -> bool:
    """Whether a clip's name in a recipe means the user's files: it ends in .bvh or .npz or has a slash."""
    return "/" in name or name.lower().endswith(SUFFIXES)


def clip_name(name: str) -> str:
    """The name that a clip has in specs: a user's file goes by its bare name, so that no folder of theirs is told."""
    return Path(name).name if is_motion_file(name) else name


def find_motion_files(name: str) -> tuple[str, ...]:
    """The files that a path, a glob or a folder means, in alphabetical order; relative ones from the working directory.

    Raises:
        ValueError: a glob or folder has no .bvh or .npz file. (A single file is opened, and missed, by read_motion.)
    """
    path = Path(name)
    if path.is_dir():
        found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    elif any(sign in name for sign in "*?["):
        root = Path(path.anchor) if path.is_absolute() else Path()
        pattern = str(path.relative_to(path.anchor)) if path.is_absolute() else name
        found = [file for file in root.glob(pattern) if file.suffix.lower() in SUFFIXES]
    else:
        return (name,)
    if not found:
        raise ValueError(f"no .bvh or .npz file in {name!r} (paths start at the working directory)")
    return tuple(sorted(map(str, found)))


def read_motion(path: Path) -> Clip:
    """A user's motion file as a clip.

    Raises:
        ValueError: no such file, not a motion file, or one whose skeleton or zero pose cannot be understood.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such motion file (paths start at the working directory)")
    match path.suffix.lower():
        case ".bvh":
            return clip_from_bvh(read_bvh(path), path.name)
        case ".npz":
            return _read_amass(path)
    raise ValueError(f"{path}: motion files end in {' or '.join(SUFFIXES)}")


def read_bvh(path: Path) -> Bvh:
    """Parse a BVH file: any order and number of channels, degrees; joints that move keep their offsets all the same.

    Raises:
        ValueError: not a BVH file, or its numbers do not fit its channels.
    """
    try:
        head, motion = re.split(r"^\s*MOTION\s*$", path.read_text(errors="replace"), maxsplit=1, flags=re.M)
    except ValueError:
        raise ValueError(f"{path}: not a BVH file: it has no MOTION section") from None
    joints = _parse_hierarchy(head, path)
    found = re.match(r"\s*Frames:\s*(\d+)\s+Frame Time:\s*(\S+)\s*(.*)", motion, flags=re.S)
    if found is None:
        raise ValueError(f"{path}: MOTION must begin with Frames: and Frame Time:")
    num_frames, num_channels = int(found[1]), sum(len(joint.channels) for joint in joints)
    try:
        dt_s, values = float(found[2]), np.array(found[3].split(), np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: MOTION holds what is no number ({error})") from None
    if len(values) != num_frames * num_channels:
        raise ValueError(
            f"{path}: {len(values)} numbers after Frame Time, expected {num_frames} frames x {num_channels} channels; "
            "is the file cut off?"
        )
    _check_motion(path, num_frames, dt_s, values)
    rotations, positions = _place_joints(joints, values.reshape(num_frames, num_channels))
    return Bvh(
        joints=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=np.array([joint.offset for joint in joints]),
        rotations=rotations,
        positions=positions,
        dt_s=dt_s,
    )


def clip_from_bvh(bvh: Bvh, name: str) -> Clip:
    """Retarget a BVH motion to the drivers by the directions of its limbs in the zero pose.

    A limb's driver hangs straight down at zero; the smallest rotation between that and the file's zero pose comes
    first.

    Raises:
        ValueError: joints are missing or coincide, or the zero pose is no upright stand with the legs down.
    """
    joint_of = _find_joints(bvh, name)
    rest = np.zeros_like(bvh.offsets)
    for joint, parent in enumerate(bvh.parents):
        if parent >= 0:
            rest[joint] = rest[parent] + bvh.offsets[joint]
    axes = _axes_of_zero_pose({driver: rest[joint] for driver, joint in joint_of.items()}, name)
    turned = axes @ bvh.rotations @ axes.T
    rotations = np.empty((len(turned), len(DRIVERS), 3, 3))
    for driver_index, driver in enumerate(DRIVERS):
        rotations[:, driver_index] = turned[:, joint_of[driver]]
        side, _, segment = driver.partition("_")
        if segment in _SEGMENT_ENDS:
            first, last = (joint_of[f"{side}_{end}"] for end in _SEGMENT_ENDS[segment])
            if np.array_equal(rest[first], rest[last]):
                raise ValueError(f"{name}: {bvh.joints[first]} and {bvh.joints[last]} lie at the same place")
            rotations[:, driver_index] = rotations[:, driver_index] @ align(_DOWN, axes @ (rest[last] - rest[first]))
    ends = [joint_of[driver] for driver in ("left_hip", "left_knee", "left_ankle")]
    leg = sum(float(np.linalg.norm(rest[b] - rest[a])) for a, b in pairwise(ends))
    root = bvh.positions[:, joint_of["root"]] @ axes.T
    upright = _upright_world(rotations[:, 0], root / leg)
    return _grounded_clip(name, bvh.dt_s, root @ upright.T, leg, upright @ rotations)


def _parse_hierarchy(text: str, path: Path) -> list[_BvhJoint]:
    """Joints of the HIERARCHY section, parents first, in the order of their channels; end sites are left out."""
    joints: list[_BvhJoint] = []
    open_blocks: list[int | None] = []  # the joint that each open brace belongs to, None for an end site
    awaiting: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        try:
            match words:
                case [] | ["HIERARCHY"]:
                    pass
                case ["ROOT" | "JOINT", *name]:
                    parent = open_blocks[-1] if open_blocks else -1
                    joints.append(_BvhJoint(" ".join(name), parent, np.zeros(3), ()))
                    awaiting = len(joints) - 1
                case ["End", *_]:
                    awaiting = None
                case ["{"]:
                    open_blocks.append(awaiting)
                case ["}"]:
                    open_blocks.pop()
                case ["OFFSET", x, y, z]:
                    if open_blocks[-1] is not None:
                        joint = joints[open_blocks[-1]]
                        offset = np.array([float(x), float(y), float(z)])
                        joints[open_blocks[-1]] = _BvhJoint(joint.name, joint.parent, offset, joint.channels)
                case ["CHANNELS", count, *channels] if int(count) == len(channels):
                    if not all(re.fullmatch(r"[XYZ](position|rotation)", channel, re.I) for channel in channels):
                        raise ValueError
                    joint = joints[open_blocks[-1]]
                    lower = tuple(channel.lower() for channel in channels)
                    joints[open_blocks[-1]] = _BvhJoint(joint.name, joint.parent, joint.offset, lower)
                case _:
                    raise ValueError
        except (ValueError, IndexError, TypeError):
            raise ValueError(f"{path}: line {number} is no line of a BVH hierarchy: {line.strip()[:60]!r}") from None
    if not joints or open_blocks:
        raise ValueError(f"{path}: the hierarchy has {'no joint' if not joints else 'a brace that is never closed'}")
    return joints


def _place_joints(joints: list[_BvhJoint], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Global rotations [T,J,3,3] and positions [T,J,3] from the channels [T,C]."""
    rotations = np.empty((len(values), len(joints), 3, 3))
    positions = np.empty((len(values), len(joints), 3))
    column = 0
    for index, joint in enumerate(joints):
        local = np.tile(np.eye(3), (len(values), 1, 1))
        moved = np.tile(joint.offset, (len(values), 1))
        for channel in joint.channels:
            axis = "xyz".index(channel[0])
            if channel.endswith("rotation"):
                local = local @ matrix_from_rotvec(np.radians(values[:, column, None]) * np.eye(3)[axis])
            elif joint.parent < 0:
                moved[:, axis] = values[:, column]
            column += 1
        if joint.parent < 0:
            rotations[:, index], positions[:, index] = local, moved
        else:
            rotations[:, index] = rotations[:, joint.parent] @ local
            positions[:, index] = positions[:, joint.parent] + rotations[:, joint.parent] @ joint.offset
    return rotations, positions


def _find_joints(bvh: Bvh, name: str) -> dict[str, int]:
    """Driver -> joint. Limbs and head by name; root and chest are where the legs and where the arms and head branch."""
    plain = [re.sub(r"[^a-z0-9]", "", joint.rpartition(":")[2].lower()) for joint in bvh.joints]
    plain = [_NAME_PREFIXES.sub("", joint) for joint in plain]
    joint_of, missing = {}, []
    for driver in DRIVERS[2:]:
        side, _, segment = driver.rpartition("_")
        forms = ("{0}{2}", "{1}{2}", "{2}{0}", "{2}{1}") if side else ("{2}",)
        wanted = [form.format(side, side[:1], part) for part in _JOINT_NAMES[segment] for form in forms]
        found = next((plain.index(candidate) for candidate in wanted if candidate in plain), None)
        if found is None:
            missing.append(driver)
        else:
            joint_of[driver] = found
    if missing:
        side, _, segment = missing[0].rpartition("_")
        tried = ", ".join(side + part for part in _JOINT_NAMES[segment])
        raise ValueError(
            f"{name}: found no joint for {', '.join(missing)}; the first may be called {tried}; the file has "
            f"{', '.join(bvh.joints)}: rename its joints as CMU or Mixamo do"
        )
    joint_of["root"] = _branch(bvh.parents, joint_of["left_hip"], joint_of["right_hip"])
    arms = _branch(bvh.parents, joint_of["left_shoulder"], joint_of["right_shoulder"])
    joint_of["chest"] = _branch(bvh.parents, arms, joint_of["neck"])
    return joint_of


def _branch(parents: tuple[int, ...], first: int, second: int) -> int:
    """The lowest joint above or equal to both."""

    def way(joint: int) -> list[int]:
        return [] if joint < 0 else [joint, *way(parents[joint])]

    above = set(way(second))
    return next(joint for joint in way(first) if joint in above)


def _axes_of_zero_pose(places: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Rotation [3,3] from the file's axes to ours, from where the drivers' joints lie in the zero pose.

    The file's axes nearest to the spine and to the line through the hips become up and left.

    Raises:
        ValueError: no axis is near them, or the ankles do not lie below the hips.
    """
    hips = (places["left_hip"] + places["right_hip"]) / 2
    ankles = (places["left_ankle"] + places["right_ankle"]) / 2
    shoulders = (places["left_shoulder"] + places["right_shoulder"]) / 2
    up, left = _nearest_axis(shoulders - hips), _nearest_axis(places["left_hip"] - places["right_hip"])
    stands = up is not None and left is not None and abs(up @ left) < 0.5
    if not stands or (hips - ankles) @ up <= 0.5 * np.linalg.norm(hips - ankles):
        raise ValueError(
            f"{name}: with all rotations 0 the skeleton does not stand upright with its legs down, so its limbs cannot "
            "be told from its axes; export it with a T-pose or A-pose as rest pose"
        )
    return np.stack([left, -np.cross(left, up), up])


def _upright_world(root_turns: np.ndarray, root_legs: np.ndarray) -> np.ndarray:
    """Rotation [3,3] of the world of a file whose skeleton rests along one axis and stands along another.

    Some programs write a skeleton with y up into a world with z up. Then the pelvis points along that other axis in
    most frames, and is about a leg above the ground along it, and near 0 along the skeleton's own.

    Args:
        root_turns: [T,3,3] global. root_legs: [T,3] place of the pelvis in lengths of the leg; both in our axes.
    """
    up = np.array([0.0, 0.0, 1.0])
    height_legs = np.median(root_legs, axis=0)
    for axis in (np.eye(3)[0], -np.eye(3)[0], np.eye(3)[1], -np.eye(3)[1]):
        stands = np.mean(root_turns @ up @ axis > _STANDING_COSINE) > 0.5
        if stands and 0.6 < height_legs @ axis < 1.4 and abs(height_legs[2]) < 0.4:
            return align(axis, up)
    return np.eye(3)


def _nearest_axis(direction: np.ndarray) -> np.ndarray | None:
    """The signed unit axis within _UPRIGHT_DEG of a direction, or None."""
    length = np.linalg.norm(direction)
    axis = int(np.abs(direction).argmax())
    if length == 0 or abs(direction[axis]) < np.cos(np.radians(_UPRIGHT_DEG)) * length:
        return None
    return np.sign(direction[axis]) * np.eye(3)[axis]


def _read_amass(path: Path) -> Clip:
    """AMASS's npz: `poses` [T,72|156|165] rotation vectors of SMPL, SMPL-H or SMPL-X, `trans` [T,3] m, z up."""
    try:
        with np.load(path, allow_pickle=False) as data:
            rate_name = next((key for key in ("mocap_framerate", "mocap_frame_rate") if key in data.files), None)
            missing = [key for key in ("poses", "trans") if key not in data.files]
            if rate_name is None:
                missing.append("mocap_framerate (or mocap_frame_rate)")
            if missing:
                raise ValueError(
                    f"{path}: no {', '.join(missing)} in it; an AMASS motion holds poses, trans and mocap_framerate"
                )
            poses, place = data["poses"].astype(np.float64), data["trans"].astype(np.float64)
            rate = float(data[rate_name])
    except (OSError, EOFError, KeyError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a readable npz file ({error})") from None
    if poses.ndim != 2 or poses.shape[1] not in _AMASS_JOINTS or place.shape != (len(poses), 3):
        raise ValueError(
            f"{path}: poses {poses.shape} and trans {place.shape}; expected [T,{'|'.join(map(str, _AMASS_JOINTS))}]"
            " and [T,3]"
        )
    _check_motion(path, len(poses), 1 / rate if rate else 0.0, np.concatenate([poses, place], 1))
    joints = _AMASS_JOINTS[poses.shape[1]]
    vectors = poses.reshape(len(poses), -1, 3)[:, : len(joints)]
    turned = global_from_local(matrix_from_rotvec(vectors), _smpl_parents(joints)) @ WORLD_FROM_MODEL.T
    rotations = turned[:, [joints.index(_SMPL_DRIVERS[driver]) for driver in DRIVERS]]
    for index, driver in enumerate(DRIVERS):
        side, _, segment = driver.partition("_")
        if segment in ("shoulder", "elbow", "wrist"):
            rotations[:, index] = rotations[:, index] @ align(_DOWN, np.array([1.0 if side == "left" else -1.0, 0, 0]))
    plain = _grounded_clip(path.name, 1 / rate, place, _SMPL_LEG_M, rotations)
    # Most recordings have no fingers and no face: those of the pose go then, not a flat hand.
    recorded = [k for k in range(len(joints)) if k < len(BODY_PARENTS) or vectors[:, _limb_of(joints, k)].any()]
    return SmplClip(**vars(plain), joints=tuple(joints[k] for k in recorded), joint_turns=turned[:, recorded])


def _smpl_parents(joints: tuple[str, ...]) -> tuple[int, ...]:
    """Parents of SMPL's joints: the body's, the head's of jaw and eyes, and of each finger's links."""
    parents = list(BODY_PARENTS)
    for joint in joints[len(parents) :]:
        side, _, finger = joint.partition("_")
        if joint not in HANDS:
            parents.append(joints.index("head"))
        else:
            link = int(finger[-1])
            parents.append(joints.index(f"{side}_wrist" if link == 1 else f"{side}_{finger[:-1]}{link - 1}"))
    return tuple(parents)


def _limb_of(joints: tuple[str, ...], joint: int) -> list[int]:
    """All joints of the hand that a joint belongs to, or itself."""
    if joints[joint] not in HANDS:
        return [joint]
    return [k for k, name in enumerate(joints) if name in HANDS and name.split("_")[0] == joints[joint].split("_")[0]]


def _grounded_clip(name: str, dt_s: float, root: np.ndarray, leg: float, rotations: np.ndarray) -> Clip:
    """A clip whose root's path [T,3] is scaled from a figure with that leg to ours, and put over the origin.

    The floor of files cannot be trusted: it is where the lowest ankle of the whole clip says.
    """
    root_m = root * (FIGURE_LEG_M / leg)
    ankles = [DRIVERS.index("left_ankle"), DRIVERS.index("right_ankle")]
    ankle_z = (root_m[:, None] + figure_joints(rotations)[:, ankles])[..., 2].min()
    return Clip(name, dt_s, root_m - [*root_m[0, :2], ankle_z - _ANKLE_HEIGHT_M], rotations)


def _check_motion(path: Path, num_frames: int, dt_s: float, values: np.ndarray) -> None:
    if num_frames < 2:
        raise ValueError(f"{path}: {num_frames} frame(s); a motion needs at least 2")
    if not (np.isfinite(dt_s) and dt_s > 0):
        raise ValueError(f"{path}: the time between frames must be above 0, got {dt_s:g} s")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: holds values that are not finite")
