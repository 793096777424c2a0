"""The human subject: a MakeHuman body shaped by phenotypes, posed by motion clips, dressed, standing on the ground.

Conventions: metres, z up, at heading 0 the character faces -y and its left is +x. Every bone rotation is global and
relative to the A-pose at rest (identity at rest), so joint j lies at P_parent + G_parent (rest_j - rest_parent).
Nothing here draws random numbers.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global
from synthgen.subjects.mesh import joint_depths
from synthgen.subjects.people.body import HumanBody, HumanShape, express, shape_body
from synthgen.subjects.people.clothes import PART_NAMES, DressedBody, Wardrobe, dress, keep_off_legs
from synthgen.subjects.people.mocap import Clip
from synthgen.subjects.people.paint import Complexion
from synthgen.subjects.people.pose import (
    Figure,
    HumanPose,
    bend_toes,
    bone_rotations,
    leg_length,
    pose_fingers_and_eyes,
    strike,
)
from synthgen.subjects.people.resting import RESTING_STEP, tip_to_rest
from synthgen.subjects.people.self_contact import FLESH_GIVES_M, ContactSurface, clear_limbs, contact_surface
from synthgen.subjects.people.tailoring import Mannequin, measure
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.skinning import bone_positions, skin

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
_LEG_BONES = ("upperleg01", "lowerleg01", "foot")
_SKIRT_GAP_M = 0.012
# Share of the mass that lies in the middle between bone heads: Winter, Biomechanics and Motor Control of Human
# Movement, table 4.1.
_MASSES = {("spine05", "spine02"): 0.25, ("spine02", "neck01"): 0.247, ("head", "eye.L", "eye.R"): 0.081}
for _end in "LR":
    _MASSES |= {
        (f"upperarm01.{_end}", f"lowerarm01.{_end}"): 0.028,
        (f"lowerarm01.{_end}", f"wrist.{_end}", f"finger3-1.{_end}"): 0.022,
        (f"upperleg01.{_end}", f"lowerleg01.{_end}"): 0.1,
        (f"lowerleg01.{_end}", f"foot.{_end}"): 0.061,
    }


@dataclass(frozen=True, eq=False)
class _Held:
    """A figure in a pose, its pelvis where it is at rest."""

    struck: Figure
    rotations: np.ndarray
    positions: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    limb_turns: np.ndarray
    self_penetration_m: float


@dataclass(frozen=True, eq=False)
class _Figure:
    """Everything about a person that its poses share."""

    dressed: DressedBody
    heads: np.ndarray
    head_scale: float
    leg_radii_m: np.ndarray
    marker_index: np.ndarray
    markers: np.ndarray
    marker_weights: np.ndarray
    joint_from_points: np.ndarray
    limb_radius_m: np.ndarray
    surface: ContactSurface


def pose_human(
    body: HumanBody,
    clips: dict[str, Clip],
    shape: HumanShape,
    wardrobe: Wardrobe,
    complexion: Complexion,
    pose: HumanPose,
    position_m: tuple[float, float] = (0.0, 0.0),
) -> PosedSubject:
    """Shape, dress and pose a person and stand them on the ground.

    The figure is lowered or raised so that its lowest vertex, shoes included, touches z = 0, or is above it by as much
    as the clip's was, in jumps and flips.

    Args:
        position_m: x and y of the pelvis when the pose's sequence began, world.

    Returns:
        Joints in the order of the skeleton `human`; rotations relative to the A-pose at rest.

    Raises:
        ValueError: an unknown clip or joint, a time before the clip, a number outside its range.
    """
    figure = _figure(body, shape, wardrobe, complexion)
    # A sequence keeps what laid it on the ground and took its limbs out of the body at its beginning: a body that moves
    # a little must not fall from side to side, nor a limb jump.
    is_later = pose.elapsed_s > 0 and (pose.free is not None or pose.blend_clip is not None)
    first = _hold(body, figure, clips, replace(pose, elapsed_s=0.0) if is_later else pose)
    held = _hold(body, figure, clips, pose, None if pose.free is None else first.limb_turns) if is_later else first
    leg_m = leg_length(body, figure.heads)
    turn = np.eye(3)
    if held.struck.most_tip_rad:
        centre = _centre_of_mass(body, first.positions)
        turn = tip_to_rest(first.vertices[::RESTING_STEP], centre, held.struck.most_tip_rad)
    pelvis = held.joints[0]
    vertices = (held.vertices - pelvis.astype(np.float32)) @ turn.T.astype(np.float32)
    ground_z = float(vertices[:, 2].min()) - leg_m * held.struck.clearance_legs
    place = np.array([*(np.asarray(position_m) + leg_m * held.struck.travel_legs), -ground_z])
    vertices += place.astype(np.float32)
    joints = (held.joints - pelvis) @ turn.T + place
    rotations = turn @ held.rotations
    skeleton = load_skeleton("human")
    carried = rotations[[body.bone(_sided(_ROTATION_BONES, name)) for name in skeleton.joints]]
    return PosedSubject(
        vertices=vertices,
        faces=figure.dressed.faces,
        face_parts=figure.dressed.face_parts,
        part_names=PART_NAMES,
        rest=figure.dressed.rest,
        joints_world=joints,
        joints_rest=figure.joint_from_points @ np.concatenate([figure.heads, figure.markers]),
        rotations=local_from_global(carried, skeleton.parents),
        limb_radius_m=figure.limb_radius_m,
        skeleton="human",
        place=figure.dressed.place,
        tint=figure.dressed.tint,
        self_penetration_m=held.self_penetration_m,
    )


def _hold(
    body: HumanBody, figure: _Figure, clips: dict[str, Clip], pose: HumanPose, limb_turns: np.ndarray | None = None
) -> _Held:
    """Pose a figure; `limb_turns` are what its limbs are turned by before they are taken out of the body."""
    chains = len(figure.surface.chains)
    limb_turns = np.tile(np.eye(3), (chains, 1, 1)) if limb_turns is None else limb_turns.copy()
    struck = strike(clips, pose)
    rotations = bone_rotations(body, figure.heads, struck.drivers)
    pose_fingers_and_eyes(body, figure.heads, rotations, pose)
    positions = bone_positions(figure.heads, body.bone_parents, rotations)
    if struck.clearance_legs == 0:
        bend_toes(body, rotations, positions)
        positions = bone_positions(figure.heads, body.bone_parents, rotations)
    self_penetration_m = clear_limbs(figure.surface, figure.heads, rotations, positions, FLESH_GIVES_M, limb_turns)
    vertices, markers = figure.dressed.vertices, figure.markers
    moved = express(body, pose.face, figure.head_scale)
    if moved is not None:
        vertices = vertices + np.where(figure.dressed.source[:, None] >= 0, moved[figure.dressed.source], 0)
        markers = markers + moved[figure.marker_index]
    vertices = skin(vertices, figure.dressed.weights, figure.heads, rotations, positions)
    markers = skin(markers, figure.marker_weights, figure.heads, rotations, positions)
    if figure.dressed.skirt.stop > figure.dressed.skirt.start:
        legs = np.array([[positions[body.bone(f"{bone}.{side}")] for bone in _LEG_BONES] for side in "LR"])
        keep_off_legs(vertices[figure.dressed.skirt], legs, figure.leg_radii_m, gap_m=_SKIRT_GAP_M)
    joints = figure.joint_from_points @ np.concatenate([positions, markers])
    return _Held(struck, rotations, positions, vertices, joints, limb_turns, self_penetration_m)


def _centre_of_mass(body: HumanBody, positions: np.ndarray) -> np.ndarray:
    """[3] m, from the bones' heads [B,3]."""
    total = np.zeros(3)
    for bones, mass in _MASSES.items():
        total += mass * np.mean([positions[body.bone(name)] for name in bones], axis=0)
    return total


def _sided(table: dict, joint: str):
    """An entry of a table that is written for the left side only."""
    if joint in table:
        return table[joint]
    mirrored = table[joint.replace("right_", "left_")]
    if isinstance(mirrored, str):
        return mirrored.replace(".L", ".R")
    return {bone.replace(".L", ".R"): weight for bone, weight in mirrored.items()}


@lru_cache(maxsize=8)
def _figure(body: HumanBody, shape: HumanShape, wardrobe: Wardrobe, complexion: Complexion) -> _Figure:
    vertices, heads = shape_body(body, shape)
    mannequin = measure(body, vertices, heads)
    dressed = dress(mannequin, wardrobe, complexion)
    joints = load_skeleton("human").joints
    marker_index, joint_from_points = _joint_regressor(body)
    joints_rest = joint_from_points @ np.concatenate([heads, vertices[marker_index]])
    inner = np.flatnonzero(joint_from_points[:, len(heads) :].sum(1) == 0)
    radius = np.zeros(len(joints))
    radius[inner] = joint_depths(joints_rest[inner], vertices[_sparse_skin(body)])
    # The mouth's inside lies close to the head's joint and would pass for its surface.
    keypoints = mannequin.keypoints
    radius[joints.index("head")] = 0.5 * np.linalg.norm(keypoints["left_ear"] - keypoints["right_ear"])
    return _Figure(
        dressed,
        heads,
        mannequin.head_scale,
        _leg_radii(mannequin),
        marker_index,
        vertices[marker_index],
        body.bone_weights[marker_index],
        joint_from_points,
        radius,
        contact_surface(body.bone_names, vertices, body.bone_weights, body.faces["body"], heads),
    )


@lru_cache(maxsize=2)
def _joint_regressor(body: HumanBody) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [M] of the surface points, and the weights [J,B+M] that give joints from bone heads and these."""
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
    return markers, joint_from_points


@lru_cache(maxsize=2)
def _sparse_skin(body: HumanBody) -> np.ndarray:
    """Every fifth vertex of the skin: enough to tell how deep a joint lies."""
    return np.unique(body.faces["body"])[::5]


def _leg_radii(mannequin: Mannequin) -> np.ndarray:
    """Radius of the left leg [3] at hip, knee and ankle, m: of the clear part of the thigh, for the hip."""
    points = mannequin.points[(mannequin.points[:, 0] > 0) & (mannequin.cloth.leg > 0.6)]
    hip, knee, ankle = (mannequin.head(f"{bone}.L") for bone in _LEG_BONES)

    def radius(start: np.ndarray, end: np.ndarray, low: float, high: float) -> float:
        axis = end - start
        share = (points - start) @ axis / (axis @ axis)
        near = points[(share > low) & (share < high)]
        away = near - start - ((near - start) @ axis / (axis @ axis))[:, None] * axis
        return float(np.median(np.linalg.norm(away, axis=1)))

    return np.array([radius(hip, knee, 0.2, 0.5), radius(hip, knee, 0.85, 1.0), radius(knee, ankle, 0.8, 1.0)])
