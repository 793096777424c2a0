"""People on SMPL, SMPL-H or SMPL-X bodies that the user brings, posed, dressed and labelled like other people.

Conventions: metres, z up, at heading 0 the person faces -y and its left is +x. Labels are relative to the A-pose of the
skeleton `human`, as for every body: limbs are aligned through the pose in which they hang straight down.
Nothing here draws random numbers.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from posecore.skeleton import load_skeleton, mirror_name
from posecore.transforms import local_from_global
from synthgen.subjects.mesh import joint_depths
from synthgen.subjects.people.mocap import Clip, align
from synthgen.subjects.people.pose import Figure, strike
from synthgen.subjects.people.resting import RESTING_STEP, tip_to_rest
from synthgen.subjects.people.self_contact import FLESH_GIVES_M, ContactSurface, clear_limbs, contact_surface
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.skinning import bone_positions
from synthgen.subjects.smpl.body import SmplBody, SmplShape, expression_offset, move_points, shape_smpl
from synthgen.subjects.smpl.clothes import PART_NAMES, Outfit, dress
from synthgen.subjects.smpl.pose import LIMBS, SmplPose, bend_toes, limb, smpl_rotations

# Joints of `human` that are no joint of the model: a mean of joints, or a landmark of the surface. SMPL has no fingers:
# its knuckles lie half-way from the wrist to the finger's tip.
_MEANS = {"spine_mid": {"spine1": 0.7, "spine2": 0.3}}
_FINGER_MEANS = {
    "left_hand": {"left_middle1": 1}, "left_thumb": {"left_thumb2": 1}, "left_index": {"left_index1": 1},
    "left_pinky": {"left_pinky1": 1},
}  # fmt: skip
_KNUCKLE_TIPS = {"left_thumb": "lthumb", "left_index": "lindex", "left_pinky": "lpinky"}
_LANDMARKS = {
    "nose": "nose", "left_eye": "leye", "left_ear": "lear", "left_heel": "LHeel", "left_big_toe": "LBigToe",
    "left_small_toe": "LSmallToe",
}  # fmt: skip
# The joint whose rotation another one carries.
_CARRIERS = {
    "nose": "head", "left_eye": "head", "left_ear": "head", "head_top": "head", "spine_mid": "spine2",
    "left_heel": "left_ankle", "left_big_toe": "left_foot", "left_small_toe": "left_foot",
}  # fmt: skip
_HAND_CARRIERS = {"left_hand": "left_middle1", "left_thumb": "left_thumb2"}
_DOWN = np.array([0.0, 0.0, -1.0])

# Share of the mass that lies in the middle between joints: Winter, Biomechanics and Motor Control of Human Movement,
# table 4.1; hands and feet go with forearms and shins.
_MASSES = {("pelvis", "spine1"): 0.25, ("spine2", "neck"): 0.247, ("head",): 0.081}
for _side in ("left", "right"):
    _MASSES |= {
        (f"{_side}_shoulder", f"{_side}_elbow"): 0.028,
        (f"{_side}_elbow", f"{_side}_wrist"): 0.022,
        (f"{_side}_hip", f"{_side}_knee"): 0.1,
        (f"{_side}_knee", f"{_side}_ankle"): 0.061,
    }
# Names of the limbs' and the trunk's joints in MakeHuman's rig; the others are the head's.
_MAKEHUMAN_NAMES = {
    "collar": "clavicle", "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "hand": "finger3-1",
    "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot", "foot": "toe3-1",
}  # fmt: skip
_TRUNK_NAMES = {"pelvis": "root", "spine1": "spine04", "spine2": "spine02", "spine3": "spine01", "neck": "neck01"}


@dataclass(frozen=True, eq=False)
class _Held:
    """A figure in a pose, its pelvis where it is at rest: points as in _Figure, and the model's joints."""

    struck: Figure
    rotations: np.ndarray
    positions: np.ndarray
    points: np.ndarray
    self_penetration_m: float


@dataclass(frozen=True, eq=False)
class _Figure:
    """Everything about a person that its poses share. Points are the dressed mesh's vertices, then the landmarks.

    Attributes:
        points, points_rest: [N,3] m, pushed outwards where there is cloth, and not.
        sources: [N] the model's vertex whose offsets and weights a point takes; weights: [N,J].
        faces [F,4], face_parts [F], num_vertices: of the mesh.
        joints: [J,3] of the model, m.
        joint_from_points: [K,J+L] the skeleton's joints from the model's joints and the landmarks.
    """

    points: np.ndarray
    points_rest: np.ndarray
    sources: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    num_vertices: int
    joints: np.ndarray
    joint_from_points: np.ndarray
    limb_radius_m: np.ndarray
    rest_alignments: np.ndarray
    surface: ContactSurface


def pose_smpl(
    body: SmplBody,
    clips: dict[str, Clip],
    shape: SmplShape,
    outfit: Outfit,
    pose: SmplPose,
    position_m: tuple[float, float] = (0.0, 0.0),
) -> PosedSubject:
    """Shape, dress and pose a person and stand them on the ground, as `human.pose_human` does.

    Returns:
        Joints in the order of the skeleton `human`; SMPL-24's are the model's own. Rotations relative to the A-pose.

    Raises:
        ValueError: more coefficients than the model has, an unknown clip, a number outside its range.
    """
    figure = _figure(body, shape, outfit)
    held = _hold(body, figure, clips, pose)
    turn = np.eye(3)
    if held.struck.most_tip_rad:
        # A sequence keeps the turn of its beginning: a body that rocks a little must not fall from side to side.
        first = _hold(body, figure, clips, replace(pose, elapsed_s=0.0)) if pose.elapsed_s else held
        centre = _centre_of_mass(body, first.positions)
        turn = tip_to_rest(first.points[::RESTING_STEP], centre, held.struck.most_tip_rad)
    pelvis = held.positions[0]
    points = (held.points - pelvis.astype(np.float32)) @ turn.T.astype(np.float32)
    leg_m = _length(body, figure.joints, "hip", "knee") + _length(body, figure.joints, "knee", "ankle")
    ground_z = float(points[: figure.num_vertices, 2].min()) - leg_m * held.struck.clearance_legs
    place = np.array([*(np.asarray(position_m) + leg_m * held.struck.travel_legs), -ground_z])
    points += place.astype(np.float32)
    positions = (held.positions - pelvis) @ turn.T + place
    skeleton = load_skeleton("human")
    carriers = [body.joint(_carrier(body, name)) for name in skeleton.joints]
    labels = turn @ held.rotations[carriers] @ np.swapaxes(figure.rest_alignments, -1, -2)
    vertices_rest, markers_rest = np.split(figure.points_rest, [figure.num_vertices])
    vertices, markers = np.split(points, [figure.num_vertices])
    return PosedSubject(
        vertices=vertices,
        faces=figure.faces,
        face_parts=figure.face_parts,
        part_names=PART_NAMES,
        rest=vertices_rest,
        joints_world=figure.joint_from_points @ np.concatenate([positions, markers]),
        joints_rest=figure.joint_from_points @ np.concatenate([figure.joints, markers_rest]),
        rotations=local_from_global(labels, skeleton.parents),
        limb_radius_m=figure.limb_radius_m,
        skeleton="human",
        self_penetration_m=held.self_penetration_m,
    )


def _hold(body: SmplBody, figure: _Figure, clips: dict[str, Clip], pose: SmplPose) -> _Held:
    struck = strike(clips, pose)
    joints = figure.joints + expression_offset(body, pose.expression, body.joint_expression_offsets)
    rotations = smpl_rotations(body, joints, clips, struck.drivers, pose)
    positions = bone_positions(joints, body.parents, rotations)
    if struck.clearance_legs == 0:
        bend_toes(body, rotations, positions)
        positions = bone_positions(joints, body.parents, rotations)
    self_penetration_m = clear_limbs(figure.surface, joints, rotations, positions, FLESH_GIVES_M)
    points, positions = move_points(
        body, figure.points, figure.sources, figure.weights, joints, pose.expression, rotations
    )
    return _Held(struck, rotations, positions, points, self_penetration_m)


@lru_cache(maxsize=8)
def _figure(body: SmplBody, shape: SmplShape, outfit: Outfit) -> _Figure:
    vertices, joints = shape_smpl(body, shape.betas)
    dressed = dress(body, vertices, joints, outfit)
    landmarks = {ours: body.landmarks[theirs] for ours, theirs in _both_sides(_LANDMARKS).items()}
    on_body = np.unique(body.faces)
    landmarks["head_top"] = int(on_body[body.template[on_body, 2].argmax()])
    if body.kind == "smpl":
        landmarks |= {f"{joint} tip": body.landmarks[tip] for joint, tip in _both_sides(_KNUCKLE_TIPS).items()}
    markers = list(landmarks.values())
    joint_from_points = _joint_weights(body, list(landmarks))
    joints_rest = joint_from_points @ np.concatenate([joints, vertices[markers]])
    skeleton = load_skeleton("human")
    inner = np.array([row for row, name in enumerate(skeleton.joints) if name not in landmarks])
    radius = np.zeros(skeleton.num_joints)
    radius[inner] = joint_depths(joints_rest[inner], vertices[on_body[::2]])
    ears = vertices[landmarks["left_ear"]] - vertices[landmarks["right_ear"]]
    radius[skeleton.index("head")] = 0.5 * np.linalg.norm(ears)  # eyes and mouth inside would pass for the surface
    return _Figure(
        points=np.concatenate([dressed.points, vertices[markers]]).astype(np.float32),
        points_rest=np.concatenate([dressed.rest, vertices[markers]]).astype(np.float32),
        sources=np.concatenate([dressed.sources, markers]),
        weights=np.concatenate([dressed.weights, body.weights[markers]]),
        faces=dressed.faces,
        face_parts=dressed.face_parts,
        num_vertices=len(dressed.points),
        joints=joints,
        joint_from_points=joint_from_points,
        limb_radius_m=radius,
        rest_alignments=np.array([_rest_alignment(body, joints, name) for name in skeleton.joints]),
        surface=contact_surface(_makehuman_names(body), vertices, body.weights, body.faces, joints),
    )


def _makehuman_names(body: SmplBody) -> tuple[str, ...]:
    """The joints under the names that self_contact.py tells limbs by."""
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    plain = _MAKEHUMAN_NAMES | {
        f"{finger}{link}": f"finger{number}-{link}" for number, finger in enumerate(fingers, 1) for link in (1, 2, 3)
    }
    names = []
    for joint in body.joints:
        side, _, name = joint.partition("_")
        names.append(f"{plain[name]}.{side[0].upper()}" if name in plain else _TRUNK_NAMES.get(joint, "head"))
    return tuple(names)


def _joint_weights(body: SmplBody, landmarks: list[str]) -> np.ndarray:
    """[K,J+L]: every joint of the skeleton `human` as a mean of the model's joints and of landmarks."""
    skeleton = load_skeleton("human")
    means = _both_sides(_MEANS | ({} if body.kind == "smpl" else _FINGER_MEANS))
    weights = np.zeros((skeleton.num_joints, len(body.joints) + len(landmarks)))
    for row, name in enumerate(skeleton.joints):
        if name in landmarks:
            weights[row, len(body.joints) + landmarks.index(name)] = 1
        elif name in means:
            for joint, share in means[name].items():
                weights[row, body.joint(joint)] = share
        elif name in body.joints:
            weights[row, body.joint(name)] = 1
        else:
            weights[row, body.joint(name.split("_")[0] + "_wrist")] = 0.5
            weights[row, len(body.joints) + landmarks.index(f"{name} tip")] = 0.5
    return weights


def _carrier(body: SmplBody, name: str) -> str:
    """The model's joint whose rotation a joint of `human` carries."""
    carriers = _both_sides(_CARRIERS if body.kind == "smpl" else _CARRIERS | _HAND_CARRIERS)
    carried = carriers.get(name, name)
    if carried in body.joints:
        return carried
    side, _, finger = carried.partition("_")
    return f"{side}_hand" if body.kind == "smpl" else f"{side}_{finger}1"


def _rest_alignment(body: SmplBody, joints: np.ndarray, name: str) -> np.ndarray:
    """Rotation [3,3] of a joint's limb from the T-pose to the A-pose of `human`, by way of hanging down."""
    side, _, segment = name.partition("_")
    segment = "wrist" if segment in ("hand", "thumb", "index", "pinky") else segment
    if segment not in LIMBS:
        return np.eye(3)
    skeleton = load_skeleton("human")
    first, last = (skeleton.rest_m[skeleton.index(f"{side}_{end}")] for end in LIMBS[segment])
    return align(last - first, _DOWN).T @ align(limb(body, joints, side, segment), _DOWN)


def _centre_of_mass(body: SmplBody, positions: np.ndarray) -> np.ndarray:
    """[3] m, from the joints [J,3]."""
    return sum(mass * positions[[body.joint(name) for name in names]].mean(0) for names, mass in _MASSES.items())


def _length(body: SmplBody, joints: np.ndarray, first: str, last: str) -> float:
    return float(np.linalg.norm(joints[body.joint(f"left_{last}")] - joints[body.joint(f"left_{first}")]))


def _both_sides(table: dict) -> dict:
    """A table written for the left side, with the right side added: left_ becomes right_, l and L become r and R."""

    def mirrored(value):
        if isinstance(value, dict):
            return {mirror_name(joint): share for joint, share in value.items()}
        if value.startswith("left_"):
            return mirror_name(value)
        return {"l": "r", "L": "R"}.get(value[0], value[0]) + value[1:]

    return table | {mirror_name(name): mirrored(value) for name, value in table.items() if name.startswith("left_")}
