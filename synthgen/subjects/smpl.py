"""People on SMPL, SMPL-H or SMPL-X bodies that the user brings: shape, pose, expression, clothes, joints; numpy alone.

Conventions: metres, z up, at heading 0 the person faces -y and its left is +x. Every joint's rotation is global and
relative to the model's rest, a T-pose. Labels are relative to the A-pose of the skeleton `human`, as for every body:
limbs are aligned through the pose in which they hang straight down. Nothing here draws random numbers.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from posecore.skeleton import load_skeleton, mirror_name
from posecore.transforms import local_from_global, matrix_from_rotvec
from synthgen.subjects.human_pose import HandPose, HumanPose, strike
from synthgen.subjects.mesh import cut, joint_depths, ripple, vertex_normals
from synthgen.subjects.mocap import DRIVERS, Clip, align, interpolate
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.resting import tip_to_rest
from synthgen.subjects.self_contact import ContactSurface, clear_limbs, contact_surface
from synthgen.subjects.skinning import bone_positions, skin
from synthgen.subjects.smpl_bake import WORLD_FROM_MODEL

BODIES = ("smpl", "smplh", "smplx")
PART_NAMES = ("skin", "eyes", "iris", "top", "bottom", "shoes", "hair")

OutfitTop = Literal["none", "tank", "short", "long"]
OutfitBottom = Literal["briefs", "shorts", "trousers"]
OutfitHair = Literal["bald", "short"]

# The first 22 joints are the same in all models, named as in the skeleton `human`.
_BODY_JOINTS = load_skeleton("human").joints[:22]
_FINGERS = tuple(f"{finger}{link}" for finger in ("index", "middle", "pinky", "ring", "thumb") for link in (1, 2, 3))
_HANDS = tuple(f"{side}_{finger}" for side in ("left", "right") for finger in _FINGERS)
_JOINT_NAMES = {
    "smpl": (*_BODY_JOINTS, "left_hand", "right_hand"),
    "smplh": (*_BODY_JOINTS, *_HANDS),
    "smplx": (*_BODY_JOINTS, "jaw", "left_eyeball", "right_eyeball", *_HANDS),
}

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

# How far spine and head have turned from the first driver to the second.
_SPINE_SHARES = {"spine1": 0.3, "spine2": 0.65, "spine3": 1.0}
_NECK_SHARES = {"neck": 0.4, "head": 1.0}
_COLLAR_SHARE = 0.15  # of the upper arm's swing out of the T-pose
# Turns of a fist's links, each from the one before; the thumb's towards the little finger.
_FINGER_CURLS_RAD, _THUMB_CURLS_RAD, _THUMB_ACROSS_RAD = (1.25, 1.65, 1.0), (0.3, 0.6, 0.9), 0.9
_SPREADS_RAD = {"index": 0.25, "middle": 0.05, "ring": -0.15, "pinky": -0.35}  # towards the index's side
_TOE_REACH_M, _MOST_TOE_BEND_RAD = 0.08, 0.9
_LIMBS = {
    "hip": ("hip", "knee"), "knee": ("knee", "ankle"), "shoulder": ("shoulder", "elbow"), "elbow": ("elbow", "wrist"),
    "wrist": ("elbow", "wrist"),
}  # fmt: skip
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
_TOUCH_M = 0.01  # flesh gives way by this much where limbs touch the body
_RESTING_STEP = 5  # every fifth vertex tells where a body touches the ground

# Share of the arm (shoulder to wrist) and of the leg (hip to ankle) that a kind covers, at cut 0 and at cut 1.
_SLEEVE_RANGE = {"tank": (-0.04, -0.01), "short": (0.18, 0.5), "long": (0.75, 1.0)}
_LEG_RANGE = {"briefs": (0.09, 0.12), "shorts": (0.2, 0.5), "trousers": (0.75, 0.99)}
_LAYER_M = 0.004


@dataclass(frozen=True)
class SmplShape:
    """Shape coefficients, the model's first ones; those left out are 0."""

    betas: tuple[float, ...] = ()


@dataclass(frozen=True)
class SmplPose(HumanPose):
    """A person's pose; SMPL-X also has a face.

    Attributes:
        expression: coefficients, the model's first ones.
        jaw_deg: how far the jaw hangs, 0 closed.
    """

    expression: tuple[float, ...] = ()
    jaw_deg: float = 0.0


@dataclass(frozen=True)
class Outfit:
    """What someone wears. Numbers lie in [0, 1] but for thickness_m.

    Attributes:
        sleeve, leg: length of sleeves and legs, from the kind's shortest to its longest.
        hem: how far the top reaches down: 0 waist, 1 over the hips.
        hair_volume: thickness of the hair, from half to twice its usual one.
        thickness_m: how far cloth stands off the skin, 0.001 to 0.03.
    """

    top: OutfitTop = "short"
    bottom: OutfitBottom = "trousers"
    sleeve: float = 0.5
    leg: float = 1.0
    hem: float = 0.5
    shoes: bool = True
    hair: OutfitHair = "short"
    hair_volume: float = 0.33
    thickness_m: float = 0.004

    def __post_init__(self) -> None:
        for name, kinds in (("top", OutfitTop), ("bottom", OutfitBottom), ("hair", OutfitHair)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"Outfit.{name}={getattr(self, name)!r}: choose one of {', '.join(get_args(kinds))}")
        for item in fields(self):
            if item.type is float:
                low, high = (0.001, 0.03) if item.name == "thickness_m" else (0, 1)
                if not low <= getattr(self, item.name) <= high:
                    raise ValueError(f"Outfit.{item.name}={getattr(self, item.name)}: must lie in [{low}, {high}]")


@dataclass(frozen=True, eq=False)
class SmplBody:
    """A baked model; see smpl_bake.py for what each array is."""

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
        return _JOINT_NAMES[self.kind]

    def joint(self, name: str) -> int:
        return self.joints.index(name)


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
    struck = strike(clips, pose)
    joints = figure.joints + expression_offset(body, pose.expression, body.joint_expression_offsets)
    rotations = joint_rotations(body, joints, struck.drivers, pose)
    positions = bone_positions(joints, body.parents, rotations)
    if struck.clearance_legs == 0:
        bend_toes(body, rotations, positions)
        positions = bone_positions(joints, body.parents, rotations)
    self_penetration_m = clear_limbs(figure.surface, joints, rotations, positions, _TOUCH_M)
    points, positions = move_points(
        body, figure.points, figure.sources, figure.weights, joints, pose.expression, rotations
    )
    leg_m = sum(_length(body, joints, first, last) for first, last in (("hip", "knee"), ("knee", "ankle")))
    moved_m = [*(np.asarray(position_m) + leg_m * struck.travel_legs - positions[0, :2]), 0.0]
    points, positions = points + np.float32(moved_m), positions + moved_m
    if struck.most_tip_rad:
        turn = tip_to_rest(points[::_RESTING_STEP], _centre_of_mass(body, positions), struck.most_tip_rad)
        pivot = positions[0].copy()
        points = ((points - pivot) @ turn.T + pivot).astype(np.float32)
        positions, rotations = (positions - pivot) @ turn.T + pivot, turn @ rotations
    vertices, markers = points[: figure.num_vertices], points[figure.num_vertices :]
    ground_z = float(vertices[:, 2].min()) - leg_m * struck.clearance_legs
    joints_world = figure.joint_from_points @ np.concatenate([positions, markers])
    skeleton = load_skeleton("human")
    carriers = [body.joint(_carrier(body, name)) for name in skeleton.joints]
    labels = rotations[carriers] @ np.swapaxes(figure.rest_alignments, -1, -2)
    return PosedSubject(
        vertices=vertices - np.array([0, 0, ground_z], np.float32),
        faces=figure.faces,
        face_parts=figure.face_parts,
        part_names=PART_NAMES,
        rest=figure.points_rest[: figure.num_vertices],
        joints_world=joints_world - [0, 0, ground_z],
        joints_rest=figure.joint_from_points
        @ np.concatenate([figure.joints, figure.points_rest[figure.num_vertices :]]),
        rotations=local_from_global(labels, skeleton.parents),
        limb_radius_m=figure.limb_radius_m,
        skeleton="human",
        self_penetration_m=self_penetration_m,
    )


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


def joint_rotations(body: SmplBody, joints: np.ndarray, drivers: np.ndarray, pose: SmplPose) -> np.ndarray:
    """Global rotation [J,3,3] of every joint out of the T-pose, from the drivers' [D,3,3].

    A limb's driver hangs straight down at zero where the T-pose spreads it; the smallest rotation between the two comes
    first.
    """
    turn = dict(zip(DRIVERS, drivers, strict=True))
    rotations = np.tile(turn["root"], (len(body.joints), 1, 1))

    def put(name: str, rotation: np.ndarray) -> None:
        rotations[body.joint(name)] = rotation

    for name, share in _SPINE_SHARES.items():
        put(name, interpolate(turn["root"], turn["chest"], share))
    for name, share in _NECK_SHARES.items():
        put(name, interpolate(turn["chest"], turn["neck"], share))
    for side in ("left", "right"):
        for segment in _LIMBS:
            put(f"{side}_{segment}", turn[f"{side}_{segment}"] @ align(_limb(body, joints, side, segment), _DOWN))
        for name in ("ankle", "foot"):
            put(f"{side}_{name}", turn[f"{side}_ankle"])
        arm = _limb(body, joints, side, "shoulder")
        swing = align(arm, turn["chest"].T @ rotations[body.joint(f"{side}_shoulder")] @ arm)
        put(f"{side}_collar", turn["chest"] @ interpolate(np.eye(3), swing, _COLLAR_SHARE))
        hand = pose.left_hand if (side == "left") != pose.mirrored else pose.right_hand
        for name, rotation in _hand_rotations(body, joints, side, hand).items():
            put(name, rotations[body.joint(f"{side}_wrist")] @ rotation)
    if body.kind == "smplx":
        put("jaw", turn["neck"] @ matrix_from_rotvec(np.array([np.radians(pose.jaw_deg), 0, 0])))
        left, up = np.radians(pose.gaze_deg) * [-1 if pose.mirrored else 1, 1]
        look = matrix_from_rotvec(np.array([0, 0, left])) @ matrix_from_rotvec(np.array([-up, 0, 0]))
        for side in ("left", "right"):
            put(f"{side}_eyeball", turn["neck"] @ look)
    return rotations


def _hand_rotations(body: SmplBody, joints: np.ndarray, side: str, hand: HandPose) -> dict[str, np.ndarray]:
    """What a hand's joints [3,3] do relative to the wrist, in the T-pose, where the palm looks down."""
    if body.kind == "smpl":
        return {f"{side}_hand": np.eye(3)}
    outwards = 1.0 if side == "left" else -1.0
    rotations = {}
    for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
        along = joints[body.joint(f"{side}_{finger}1")] - joints[body.joint(f"{side}_wrist")]
        if finger == "thumb":
            turn = matrix_from_rotvec(np.array([_THUMB_ACROSS_RAD * hand.thumb_across, 0, 0]))
            axis, bends = np.array([0, 0, outwards]), _THUMB_CURLS_RAD
        else:
            apart = _SPREADS_RAD[finger] * hand.spread * (1 - max(hand.curl[number], 0))
            turn = matrix_from_rotvec(np.array([0, 0, -outwards * apart]))
            axis, bends = np.cross(along, _DOWN), _FINGER_CURLS_RAD
        for link, bend in enumerate(bends, 1):
            turn = turn @ matrix_from_rotvec(axis / np.linalg.norm(axis) * bend * hand.curl[number])
            rotations[f"{side}_{finger}{link}"] = turn
    return rotations


def bend_toes(body: SmplBody, rotations: np.ndarray, positions: np.ndarray) -> None:
    """Lay the toes of `rotations` [J,3,3] flat, in place, where a foot stands on its ball.

    Args:
        positions: [J,3] m. Toes that are higher than _TOE_REACH_M above the lowest joint stay straight.
    """
    lowest_z = positions[:, 2].min()
    for side in ("left", "right"):
        toe, foot = body.joint(f"{side}_foot"), rotations[body.joint(f"{side}_ankle")]
        near = 1 - np.clip((positions[toe, 2] - lowest_z) / _TOE_REACH_M, 0, 1)
        pointing = np.arcsin(np.clip((foot @ np.array([0.0, 1.0, 0.0]))[2], -1, 1))
        rotations[toe] = foot @ matrix_from_rotvec(np.array([-near * np.clip(pointing, 0, _MOST_TOE_BEND_RAD), 0, 0]))


@lru_cache(maxsize=8)
def _figure(body: SmplBody, shape: SmplShape, outfit: Outfit) -> _Figure:
    vertices, joints = shape_smpl(body, shape.betas)
    faces, parts, pieces = _dress(body, vertices, joints, outfit)
    mesh = _assemble(vertices, body.weights, faces, parts, pieces)
    points, rest, sources, weights, faces, parts = mesh
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
        points=np.concatenate([points, vertices[markers]]).astype(np.float32),
        points_rest=np.concatenate([rest, vertices[markers]]).astype(np.float32),
        sources=np.concatenate([sources, markers]),
        weights=np.concatenate([weights, body.weights[markers]]),
        faces=faces,
        face_parts=parts,
        num_vertices=len(points),
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
    if segment not in _LIMBS:
        return np.eye(3)
    skeleton = load_skeleton("human")
    first, last = (skeleton.rest_m[skeleton.index(f"{side}_{end}")] for end in _LIMBS[segment])
    return align(last - first, _DOWN).T @ align(_limb(body, joints, side, segment), _DOWN)


def _limb(body: SmplBody, joints: np.ndarray, side: str, segment: str) -> np.ndarray:
    first, last = (joints[body.joint(f"{side}_{end}")] for end in _LIMBS[segment])
    return last - first


def _centre_of_mass(body: SmplBody, positions: np.ndarray) -> np.ndarray:
    """[3] m, from the joints [J,3]."""
    return sum(mass * positions[[body.joint(name) for name in names]].mean(0) for names, mass in _MASSES.items())


def _length(body: SmplBody, joints: np.ndarray, first: str, last: str) -> float:
    return float(np.linalg.norm(joints[body.joint(f"left_{last}")] - joints[body.joint(f"left_{first}")]))


def _coefficients(values: tuple[float, ...], count: int, name: str, body: SmplBody) -> np.ndarray:
    if len(values) > count:
        raise ValueError(f"{name}: {len(values)} coefficients, but this {body.kind} model has {count}")
    return np.array([*values, *[0.0] * (count - len(values))])


def _both_sides(table: dict) -> dict:
    """A table written for the left side, with the right side added: left_ becomes right_, l and L become r and R."""

    def mirrored(value):
        if isinstance(value, dict):
            return {mirror_name(joint): share for joint, share in value.items()}
        if value.startswith("left_"):
            return mirror_name(value)
        return {"l": "r", "L": "R"}.get(value[0], value[0]) + value[1:]

    return table | {mirror_name(name): mirrored(value) for name, value in table.items() if name.startswith("left_")}


@dataclass(frozen=True, eq=False)
class _Piece:
    """A garment cut from the body: rest points, where the cloth lies, weights, the body's vertex of each, faces."""

    part: str
    rest: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    faces: np.ndarray


def _dress(
    body: SmplBody, vertices: np.ndarray, joints: np.ndarray, outfit: Outfit
) -> tuple[np.ndarray, np.ndarray, list[_Piece]]:
    """Faces of the body that can be seen, their parts, and the garments over it.

    A garment is where a field over the T-pose is negative, metres; body vertices deep inside one are left out.
    """
    place = {name: joints[body.joint(name)] for name in body.joints}
    scale = float(np.ptp(vertices[np.unique(body.faces), 2])) / 1.7
    z = vertices[:, 2]
    hip_z, ankle_z, waist_z = place["left_hip"][2], place["left_ankle"][2], place["spine1"][2] + 0.01 * scale
    on_arm = _share(body, lambda name: any(word in name for word in ("shoulder", "elbow", "wrist", *_HANDS, "hand")))
    on_head = _share(body, lambda name: name in ("neck", "head", "jaw") or "eyeball" in name)
    normals = vertex_normals(vertices, body.faces)
    fields: list[tuple[str, np.ndarray, np.ndarray]] = []

    leg_m = _within(_LEG_RANGE[outfit.bottom], outfit.leg) * (hip_z - ankle_z)
    top_z = waist_z - (0.05 * scale if outfit.bottom == "briefs" else 0)
    field = np.maximum(np.maximum(z - top_z, hip_z - leg_m - z), np.where(on_arm > 0.3, 0.1, -0.1))
    fields.append(("bottom", field, np.full(len(z), outfit.thickness_m)))
    if outfit.top != "none":
        arm_m = np.linalg.norm(place["left_wrist"] - place["left_shoulder"])
        sleeve_m = _within(_SLEEVE_RANGE[outfit.top], outfit.sleeve) * arm_m
        along = on_arm * (np.abs(vertices[:, 0]) - place["left_shoulder"][0]) - 0.1 * (1 - on_arm)
        hem_z = _within((waist_z - 0.02 * scale, hip_z - 0.08 * scale), outfit.hem)
        field = np.maximum(along - sleeve_m, np.where(on_arm > 0.5, -0.1, hem_z - z))
        field = np.maximum(field, 0.15 * scale * (on_head - 0.4))
        fields.append(("top", field, np.full(len(z), outfit.thickness_m + _LAYER_M)))
    if outfit.shoes:
        field = np.maximum(z - ankle_z - 0.005 * scale, np.where(on_arm > 0.3, 0.1, -0.1))
        fields.append(("shoes", field, np.full(len(z), 0.007 * scale)))
    if outfit.hair != "bald":
        field = _scalp_field(body, vertices, on_head, scale)
        depth = np.clip(-field / (0.03 * scale), 0, 1)
        thickness = 0.012 * _within((0.5, 2.0), outfit.hair_volume) * scale
        fields.append(("hair", field, 0.002 + thickness * depth * (1 + 0.25 * ripple(vertices / scale))))

    pieces, hidden = [], np.zeros(len(z), bool)
    for part, field, offset in fields:
        pieces.append(_cloth(body, vertices, normals, part, field, offset))
        if part != "hair":
            hidden |= field < -(0.02 + 1.5 * offset)
    faces = body.faces[~hidden[body.faces].all(1)]
    return faces, _body_parts(body, vertices, faces), pieces


def _scalp_field(body: SmplBody, vertices: np.ndarray, on_head: np.ndarray, scale: float) -> np.ndarray:
    """Negative above a hairline from the forehead over the ears to the nape."""
    eye, ear = vertices[body.landmarks["leye"]], vertices[body.landmarks["lear"]]
    head_top_z = vertices[on_head > 0.5, 2].max()
    _, y, z = vertices.T
    forehead_z = eye[2] + 0.62 * (head_top_z - eye[2])
    line_z = np.interp(
        y,
        [eye[1], eye[1] + 0.3 * (ear[1] - eye[1]), ear[1], ear[1] + 0.05 * scale],
        [forehead_z, forehead_z - 0.01 * scale, ear[2] + 0.02 * scale, ear[2] - 0.045 * scale],
    )
    field = np.where(on_head > 0.5, line_z + 0.004 * scale * ripple(vertices / scale) - z, 0.1)
    for side in ("lear", "rear"):
        from_ear = np.linalg.norm((vertices - vertices[body.landmarks[side]]) / np.array([1.0, 1.0, 1.4]), axis=1)
        field = np.maximum(field, 0.024 * scale - from_ear)
    return field


def _body_parts(body: SmplBody, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Part of each face of the bare body: skin, and SMPL-X's eyeballs with an iris within 26 degrees of straight on."""
    parts = np.full(len(faces), PART_NAMES.index("skin"), np.uint8)
    if body.kind != "smplx":
        return parts
    middle = vertices[faces].mean(1)
    for side in ("left", "right"):
        is_eye = (body.weights[faces, body.joint(f"{side}_eyeball")] > 0.5).all(1)
        if is_eye.any():
            away = middle[is_eye] - vertices[np.unique(faces[is_eye])].mean(0)
            is_iris = -away[:, 1] > 0.9 * np.linalg.norm(away, axis=1)
            parts[is_eye] = np.where(is_iris, PART_NAMES.index("iris"), PART_NAMES.index("eyes"))
    return parts


def _cloth(
    body: SmplBody, vertices: np.ndarray, normals: np.ndarray, part: str, field: np.ndarray, offset: np.ndarray
) -> _Piece:
    """Cut the body where the field is 0 and push it outwards by the offset."""
    faces = body.faces[(field[body.faces] < 0).any(1)]
    used, flat = np.unique(faces, return_inverse=True)
    pushed = vertices[used] + normals[used] * offset[used, None]
    carried = np.concatenate([vertices[used], pushed, body.weights[used]], 1)
    carried, faces = cut(carried, flat.reshape(faces.shape), field[used])
    return _Piece(part, carried[:, :3], carried[:, 3:6], carried[:, 6:], used, faces)


def _assemble(
    vertices: np.ndarray, weights: np.ndarray, faces: np.ndarray, parts: np.ndarray, pieces: list[_Piece]
) -> tuple[np.ndarray, ...]:
    """Body and garments as one mesh without unused vertices: points, rest, sources, weights, faces, parts."""
    all_points, all_rest, all_weights, all_sources = [vertices], [vertices], [weights], [np.arange(len(vertices))]
    all_faces, all_parts, start = [faces], [parts], len(vertices)
    for piece in pieces:
        all_points.append(piece.points)
        all_rest.append(piece.rest)
        all_weights.append(piece.weights)
        all_sources.append(piece.sources)
        all_faces.append(piece.faces + start)
        all_parts.append(np.full(len(piece.faces), PART_NAMES.index(piece.part), np.uint8))
        start += len(piece.points)
    used, flat = np.unique(np.concatenate(all_faces), return_inverse=True)
    gathered = (np.concatenate(rows)[used] for rows in (all_points, all_rest, all_sources, all_weights))
    return (*gathered, flat.reshape(-1, 4).astype(np.int32), np.concatenate(all_parts))


def _share(body: SmplBody, chosen) -> np.ndarray:
    """Share [V] of each vertex's weight that lies on the chosen joints."""
    return body.weights[:, [k for k, name in enumerate(body.joints) if chosen(name)]].sum(1)


def _within(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])
