"""The four-legged subject: one rigged dog, morphed into many builds, posed by gaits and hinges, standing on the ground.

Conventions: metres, z up, at heading 0 the animal faces -y and its left is +x. Every bone rotation is global and
relative to the standing rest pose (identity at rest). Builds scale bones along the world's axes at rest: x girth,
y length, z height. Nothing here draws random numbers.
"""

from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec
from synthgen.subjects.dog_rig import DogRig, read_dog
from synthgen.subjects.gaits import Gait, gait_angles
from synthgen.subjects.mesh import joint_depths, ripple, vertex_normals
from synthgen.subjects.posed import PosedSubject
from synthgen.subjects.skinning import bone_positions, skin

PART_NAMES = ("fur", "mane", "eyes", "iris")
TEXTURE_ASSET = "texture/dog"

_LEG_ENDS = ("upper_leg", "lower_leg", "foot", "toe", "upper_arm", "lower_arm", "hand", "finger")
_PAWS = ("foot", "toe", "hand", "finger")
# The mouth hangs open at rest; this is as far as dog.xml lets it close.
_CLOSED_JAW_DEG = -15.0
# Where the ears sit on the dog's head: base and tip of the left one, m (measured on the mesh), and the half-width.
_EAR_BASE, _EAR_TIP, _EAR_REACH_M = np.array([0.048, -0.292, 0.722]), np.array([0.0855, -0.2987, 0.8068]), 0.05
_EYE_RADIUS_M = 0.0125
# Joints of dog.xml with the most expressive effect, each with the share of a named movement that it makes.
_NECK_BENDS = ("C_7_bend", "C_5_bend", "C_3_bend", "C_1_bend")
_NECK_EXTENDS = ("C_7_extend", "C_5_extend", "C_3_extend", "C_1_extend")

# Joints of the skeleton `quadruped` that lie on bones' pivots; written for the left side. The rest are surface points.
_JOINT_BONES = {
    "neck": "C_6", "left_shoulder": "upper_arm_L", "left_elbow": "lower_arm_L", "left_hip": "upper_leg_L",
    "left_knee": "lower_leg_L", "left_stifle": "lower_leg_L", "left_hock": "foot_L",
}  # fmt: skip
_ROTATION_BONES = {
    "left_eye": "skull", "nose": "skull", "neck": "C_6", "tail_root": "pelvis", "left_shoulder": "upper_arm_L",
    "left_elbow": "lower_arm_L", "left_front_paw": "finger_L", "left_hip": "upper_leg_L", "left_knee": "lower_leg_L",
    "left_back_paw": "toe_L", "left_ear": "skull", "tail_tip": "Ca_21", "withers": "torso", "throat": "C_1",
    "left_stifle": "lower_leg_L", "left_hock": "foot_L", "left_front_hoof": "finger_L", "left_back_hoof": "toe_L",
}  # fmt: skip


@dataclass(frozen=True)
class QuadrupedShape:
    """Build, as factors on the base dog (1 leaves it as it is) and a few lengths.

    Attributes:
        size: of the whole animal (the base dog stands 0.55 m at the withers).
        leg_length, leg_girth, paw_size: of all four legs.
        trunk_length, trunk_girth, trunk_depth: of chest and loins.
        neck_length, neck_girth, head_size, muzzle_length, tail_length, tail_girth, ear_length.
        ear_flop: 0 upright, 1 hanging.
        coat_m: length of a shaggy coat at size 1, 0 to 0.05; legs and head have less of it.
        mane: 0 none, 1 a lion's.
    """

    size: float = 1.0
    leg_length: float = 1.0
    leg_girth: float = 1.0
    paw_size: float = 1.0
    trunk_length: float = 1.0
    trunk_girth: float = 1.0
    trunk_depth: float = 1.0
    neck_length: float = 1.0
    neck_girth: float = 1.0
    head_size: float = 1.0
    muzzle_length: float = 1.0
    tail_length: float = 1.0
    tail_girth: float = 1.0
    ear_length: float = 1.0
    ear_flop: float = 0.0
    coat_m: float = 0.0
    mane: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"ear_flop": (0, 1), "mane": (0, 1), "coat_m": (0, 0.05), "size": (0.2, 4)}
        for item in fields(self):
            low, high = ranges.get(item.name, (0.3, 2.5))
            value = getattr(self, item.name)
            if not low <= value <= high:
                raise ValueError(f"QuadrupedShape.{item.name}={value}: must lie in [{low}, {high}]")


# Builds to start from. None is an anatomical model of its name: all are the dog, stretched.
SPECIES = {
    "dog": QuadrupedShape(),
    "terrier": QuadrupedShape(
        size=0.55, leg_length=0.72, neck_length=0.8, head_size=1.15, muzzle_length=0.85, tail_length=0.6,
        ear_length=0.7, ear_flop=0.5, coat_m=0.012, tail_girth=1.4,
    ),
    "wolf": QuadrupedShape(
        size=1.15, trunk_girth=1.1, neck_girth=1.4, neck_length=0.85, head_size=1.05, ear_length=0.75, coat_m=0.022,
        tail_girth=2.2, tail_length=0.9, paw_size=1.15,
    ),
    "lion": QuadrupedShape(
        size=1.6, trunk_length=1.05, trunk_girth=1.3, trunk_depth=1.1, leg_girth=1.35, leg_length=0.88, neck_length=0.8,
        neck_girth=1.5, head_size=1.25, muzzle_length=0.85, ear_length=0.45, tail_length=1.15, tail_girth=0.9,
        paw_size=1.35, mane=1.0,
    ),
    "horse": QuadrupedShape(
        size=2.3, leg_length=1.22, trunk_girth=1.3, trunk_depth=1.15, neck_length=1.35, neck_girth=1.3, head_size=1.1,
        muzzle_length=1.4, ear_length=0.55, tail_length=0.8, tail_girth=2.2, paw_size=0.9,
    ),
    "cow": QuadrupedShape(
        size=2.0, leg_length=0.9, trunk_girth=1.7, trunk_depth=1.35, neck_length=0.85, neck_girth=1.6, head_size=1.25,
        muzzle_length=1.25, ear_length=0.7, ear_flop=0.7, tail_length=0.9, leg_girth=1.15, tail_girth=0.9,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class QuadrupedPose:
    """A pose as numbers.

    Attributes:
        gait, phase, stride: see gaits.gait_angles.
        head_yaw_deg: + turns the head to the animal's left; head_pitch_deg: + lowers it. Spread over the neck.
        tail_lift_deg: + raises the tail; tail_swing_deg: + to the left. Spread over the tail.
        spine_bend_deg: + curves the rump to the left.
        mouth_open: 0 closed, 1 wide.
        jitter_deg: joint of JOINTS -> degrees, added at the end.
        heading_deg: turn about z, counter-clockwise seen from above; 0 faces -y.
    """

    gait: Gait = "stand"
    phase: float = 0.0
    stride: float = 1.0
    head_yaw_deg: float = 0.0
    head_pitch_deg: float = 0.0
    tail_lift_deg: float = 0.0
    tail_swing_deg: float = 0.0
    spine_bend_deg: float = 0.0
    mouth_open: float = 0.0
    jitter_deg: dict[str, float] = field(default_factory=dict)
    heading_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.gait not in get_args(Gait):
            raise ValueError(f"QuadrupedPose.gait={self.gait!r}: choose one of {', '.join(get_args(Gait))}")
        unknown = set(self.jitter_deg) - set(JOINTS)
        if unknown:
            raise ValueError(f"QuadrupedPose.jitter_deg: no joint {sorted(unknown)[0]!r}; known: {', '.join(JOINTS)}")


# The hinges of dog.xml, so that poses can be drawn without the file at hand.
JOINTS = (
    *(f"L_{n}_{kind}" for n, kind in (
        (1, "extend"), (1, "bend"), (2, "twist"), (3, "extend"), (3, "bend"), (4, "twist"), (5, "extend"), (5, "bend"),
        (6, "twist"), (7, "extend"), (7, "bend"),
    )),
    *(f"{joint}_{side}{kind}" for side in "LR" for joint, kind in (
        ("hip", "_supinate"), ("hip", "_abduct"), ("hip", "_extend"), ("knee", ""), ("ankle", ""), ("toe", ""),
    )),
    *(f"Ca_{n}_{'extend' if n % 2 else 'bend'}" for n in range(1, 22)),
    *(f"C_{n}_{kind}" for n, kind in (
        (7, "extend"), (7, "bend"), (6, "twist"), (5, "extend"), (5, "bend"), (4, "twist"), (3, "extend"), (3, "bend"),
        (2, "twist"), (1, "extend"), (1, "bend"),
    )),
    "atlas", "mandible",
    *(f"{joint}_{side}{kind}" for side in "LR" for joint, kind in (
        ("scapula", "_supinate"), ("scapula", "_abduct"), ("scapula", "_extend"), ("shoulder", "_supinate"),
        ("shoulder", "_extend"), ("elbow", ""), ("wrist", ""), ("finger", ""),
    )),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class QuadrupedBody:
    """The rig, and which of its vertices are the landmarks that labels need.

    Attributes:
        rig: the dog as read.
        normals: [V,3] at rest.
        landmarks: surface joint -> the vertices whose mean it is.
    """

    rig: DogRig
    normals: np.ndarray
    landmarks: dict[str, np.ndarray]

    @staticmethod
    def load(folder: Path) -> "QuadrupedBody":
        """Read the dog from `dm_control/suite` of the unpacked dm-control wheel; see dog_rig.read_dog."""
        rig = read_dog(folder)
        return QuadrupedBody(rig, vertex_normals(rig.vertices, rig.faces), _landmarks(rig))


@dataclass(frozen=True, eq=False)
class _Figure:
    """Everything about one animal that its poses share."""

    vertices: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    uv: np.ndarray
    rest: np.ndarray
    pivots: np.ndarray
    joint_from_points: np.ndarray
    markers: np.ndarray
    marker_weights: np.ndarray
    limb_radius_m: np.ndarray
    fore: tuple[np.ndarray, np.ndarray]
    hind: tuple[np.ndarray, np.ndarray]


def pose_quadruped(
    body: QuadrupedBody,
    shape: QuadrupedShape,
    pose: QuadrupedPose,
    position_m: tuple[float, float] = (0.0, 0.0),
) -> PosedSubject:
    """Morph, pose and ground an animal.

    Hinge angles are brought into the limits of dog.xml. The animal is then pitched until the lowest points of its fore
    and hind parts are level, and lowered or raised until they touch z = 0.

    Args:
        position_m: x and y of the middle between shoulders and hips, world.

    Returns:
        Joints in the order of the skeleton `quadruped`; rotations relative to the standing rest pose.
    """
    rig, figure = body.rig, _figure(body, shape)
    rotations = bone_rotations(rig, hinge_angles(rig, pose), shape.ear_flop)
    skull, first_ear = rig.bone_names.index("skull"), len(rig.bone_names)
    parents = (*rig.bone_parents, skull, first_ear, skull, first_ear + 2)
    positions = bone_positions(figure.pivots, parents, rotations)
    for _ in range(3):
        ends = (skin(*part, figure.pivots, rotations, positions) for part in (figure.fore, figure.hind))
        fore, hind = (points[points[:, 2].argmin()] for points in ends)
        level = matrix_from_rotvec(np.array([np.arctan2(fore[2] - hind[2], hind[1] - fore[1]), 0, 0]))
        rotations, positions = level @ rotations, positions @ level.T
    turn = matrix_from_rotvec(np.array([0, 0, np.radians(pose.heading_deg)]))
    rotations, positions = turn @ rotations, positions @ turn.T
    vertices = skin(figure.vertices, figure.weights, figure.pivots, rotations, positions)
    markers = skin(figure.markers, figure.marker_weights, figure.pivots, rotations, positions)
    joints = figure.joint_from_points @ np.concatenate([positions, markers])
    skeleton = load_skeleton("quadruped")
    middle = [skeleton.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")]
    shift = np.array([*position_m, 0.0]) - [*joints[middle, :2].mean(0), vertices[:, 2].min()]
    carried = rotations[[rig.bone_names.index(_sided(_ROTATION_BONES, name)) for name in skeleton.joints]]
    return PosedSubject(
        vertices=vertices + shift.astype(np.float32),
        faces=figure.faces,
        face_parts=figure.face_parts,
        part_names=PART_NAMES,
        rest=figure.rest,
        joints_world=joints + shift,
        joints_rest=figure.joint_from_points @ np.concatenate([figure.pivots, figure.markers]),
        rotations=local_from_global(carried, skeleton.parents),
        limb_radius_m=figure.limb_radius_m,
        skeleton="quadruped",
        uv=figure.uv,
        texture_asset=TEXTURE_ASSET,
    )


def hinge_angles(rig: DogRig, pose: QuadrupedPose) -> np.ndarray:
    """Angle of every hinge of the rig [H], degrees, within its limits."""
    angles = dict.fromkeys(JOINTS, 0.0) | {"mandible": _CLOSED_JAW_DEG + 35 * pose.mouth_open}
    spread = [
        (gait_angles(pose.gait, pose.phase, pose.stride), 1.0),
        (dict.fromkeys(_NECK_BENDS, pose.head_yaw_deg), 1 / len(_NECK_BENDS)),
        (dict.fromkeys(_NECK_EXTENDS, pose.head_pitch_deg), 1 / len(_NECK_EXTENDS)),
        ({f"Ca_{n}_extend": pose.tail_lift_deg for n in range(1, 22, 2)}, 1 / 11),
        ({f"Ca_{n}_bend": pose.tail_swing_deg for n in range(2, 21, 2)}, 1 / 10),
        ({f"L_{n}_bend": -pose.spine_bend_deg for n in (1, 3, 5, 7)}, 1 / 4),
        (pose.jitter_deg, 1.0),
    ]
    for movement, share in spread:
        for name, value in movement.items():
            angles[name] += share * value
    return np.array([np.clip(angles[hinge.name], hinge.low_deg, hinge.high_deg) for hinge in rig.joints])


def bone_rotations(rig: DogRig, angles_deg: np.ndarray, ear_flop: float) -> np.ndarray:
    """Global rotations [B+4,3,3]: the rig's bones, then base and tip of the left and of the right ear."""
    local = np.tile(np.eye(3), (len(rig.bone_names), 1, 1))
    turns = matrix_from_rotvec(np.radians(angles_deg)[:, None] * np.array([hinge.axis for hinge in rig.joints]))
    for hinge, turn in zip(rig.joints, turns, strict=True):
        local[hinge.bone] = local[hinge.bone] @ turn
    rotations = local.copy()
    for bone, parent in enumerate(rig.bone_parents):
        if parent >= 0:
            rotations[bone] = rotations[parent] @ local[bone]
    skull = rotations[rig.bone_names.index("skull")]
    ears = []
    for side in (1, -1):
        outwards = np.array([0.25, side * 1.0, 0.0])
        base = skull @ matrix_from_rotvec(outwards * np.radians(55 * ear_flop))
        ears += [base, base @ matrix_from_rotvec(outwards * np.radians(85 * ear_flop))]
    return np.concatenate([rotations, ears])


@lru_cache(maxsize=8)
def _figure(body: QuadrupedBody, shape: QuadrupedShape) -> _Figure:
    rig = body.rig
    bones = {name: k for k, name in enumerate(rig.bone_names)}
    eyes, eye_faces, eye_parts = _eyeballs(rig)
    eye_weights = np.zeros((len(eyes), len(bones) + 4), np.float32)
    eye_weights[:, bones["skull"]] = 1
    weights, ear_pivots, vertices = _grow_ears(rig, shape)
    weights = np.concatenate([weights, eye_weights])
    vertices = np.concatenate([_stretch_muzzle(rig, vertices, shape.muzzle_length), eyes])
    coat_m, mane = _coat(rig, body.normals, shape)
    rest = vertices.copy()
    rest[: len(coat_m)] += body.normals * coat_m[:, None]

    scales = _bone_scales(rig, shape)
    pivots_rest = np.concatenate([rig.pivots, ear_pivots])
    parents = (*rig.bone_parents, bones["skull"], len(bones), bones["skull"], len(bones) + 2)
    pivots = pivots_rest.copy()
    for bone, parent in enumerate(parents):
        if parent >= 0:
            pivots[bone] = pivots[parent] + scales[parent] * (pivots_rest[bone] - pivots_rest[parent])
    # The same blend as skinning's, with a scale in place of a rotation.
    scaling = scales[:, :, None] * np.eye(3)
    bare, rest = (skin(points.astype(np.float32), weights, pivots_rest, scaling, pivots) for points in (vertices, rest))
    ground = bare[:, 2].min()
    bare, rest, pivots = ((points - [0, 0, ground]) * shape.size for points in (bare, rest, pivots))

    joint_from_points, marker_vertices, on_surface = _joint_rows(body, len(rig.vertices), len(pivots))
    joints_rest = joint_from_points @ np.concatenate([pivots, bare[marker_vertices]])
    radius = np.zeros(len(joints_rest))
    radius[~on_surface] = joint_depths(joints_rest[~on_surface], bare[: len(rig.vertices) : 5])
    loose = [k for name, k in bones.items() if name.startswith(("Ca_", "C_", "skull", "jaw"))]
    stands = weights[:, loose].sum(1) + weights[:, len(bones) :].sum(1) < 0.5
    middle_y = pivots[[bones["upper_arm_L"], bones["upper_leg_L"]], 1].mean()
    rest = rest.astype(np.float32)
    # Every other vertex is plenty to find which end hangs lower.
    fore, hind = (np.flatnonzero(stands & half)[::2] for half in (rest[:, 1] < middle_y, rest[:, 1] >= middle_y))
    return _Figure(
        vertices=rest,
        weights=weights,
        faces=np.concatenate([rig.faces, eye_faces + len(rig.vertices)]).astype(np.int32),
        face_parts=np.concatenate([(mane[rig.faces].mean(1) > 0.5).astype(np.uint8), eye_parts]),
        uv=np.concatenate([rig.uv, np.zeros((len(eye_faces), 4, 2), np.float32)]),
        rest=rest,
        pivots=pivots,
        joint_from_points=joint_from_points,
        markers=bare[marker_vertices].astype(np.float32),
        marker_weights=weights[marker_vertices],
        limb_radius_m=radius,
        fore=(rest[fore], weights[fore]),
        hind=(rest[hind], weights[hind]),
    )


def _joint_rows(body: QuadrupedBody, first_eye: int, num_bones: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that give the skeleton's joints from pivots and marker vertices, those vertices, and which joints are skin.

    The two eyes' front poles are the first vertices of the eyeballs, which follow the rig's own vertices.
    """
    names = load_skeleton("quadruped").joints
    surface = body.landmarks | {"left_eye": np.array([first_eye]), "right_eye": np.array([first_eye + _EYE_VERTICES])}
    markers = np.unique(np.concatenate(list(surface.values())))
    rows = np.zeros((len(names), num_bones + len(markers)))
    for row, name in enumerate(names):
        if name in surface:
            rows[row, num_bones + np.searchsorted(markers, surface[name])] = 1 / len(surface[name])
        else:
            rows[row, body.rig.bone_names.index(_sided(_JOINT_BONES, name))] = 1
    inner = ("left_ear", "right_ear", "left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw")
    return rows, markers, np.array([name in surface and name not in inner for name in names])


def _landmarks(rig: DogRig) -> dict[str, np.ndarray]:
    """Vertices of each surface joint, found from the mesh's own extremes and sections."""
    bones = {name: k for k, name in enumerate(rig.bone_names)}
    x, y, z = rig.vertices.T
    strongest = rig.weights.argmax(1)
    middle = np.abs(x) < 0.012

    def around(vertex: int, reach_m: float = 0.007) -> np.ndarray:
        return np.flatnonzero(np.linalg.norm(rig.vertices - rig.vertices[vertex], axis=1) < reach_m)

    def top(at_y: float) -> np.ndarray:
        section = np.flatnonzero(middle & (np.abs(y - at_y) < 0.012))
        return around(section[z[section].argmax()])

    off_head = rig.weights[:, [bones["skull"], bones["jaw"]]].sum(1) < 0.5
    throat = np.flatnonzero(middle & off_head & (np.abs(z - rig.pivots[bones["C_3"], 2]) < 0.012))
    found = {
        "nose": around(int(np.where(strongest == bones["skull"], y, np.inf).argmin())),
        "tail_root": top(rig.pivots[bones["Ca_1"], 1]),
        "tail_tip": around(int(y.argmax())),
        "withers": top(rig.pivots[bones["scapula_L"], 1]),
        "throat": around(throat[y[throat].argmin()]),
    }
    for side, end in (("left", "L"), ("right", "R")):
        for name, bone in (("front", f"finger_{end}"), ("back", f"toe_{end}")):
            paw = np.flatnonzero(strongest == bones[bone])
            found[f"{side}_{name}_paw"] = paw
            low = paw[z[paw] < z[paw].min() + 0.02]
            found[f"{side}_{name}_hoof"] = around(low[y[low].argmin()], 0.012)
        along = _along_ear(rig, 1 if side == "left" else -1)
        found[f"{side}_ear"] = np.flatnonzero((along > 0) & (along < 0.25))
    return found


def _along_ear(rig: DogRig, side: int) -> np.ndarray:
    """How far up an ear each vertex lies: 0 base, 1 tip; -1 for vertices off the ear."""
    base, tip = _EAR_BASE * [side, 1, 1], _EAR_TIP * [side, 1, 1]
    axis = tip - base
    away = rig.vertices - base
    along = away @ axis / (axis @ axis)
    off_axis = np.linalg.norm(away - along[:, None] * axis, axis=1)
    is_ear = (off_axis < _EAR_REACH_M) & (rig.vertices[:, 0] * side > 0.03) & (along > -0.05)
    return np.where(is_ear, np.clip(along, 0, 1), -1.0)


def _grow_ears(rig: DogRig, shape: QuadrupedShape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [V,B+4] with two bones an ear, their pivots [4,3], and vertices with ears of the wanted length."""
    vertices = rig.vertices.astype(np.float64)
    ears, pivots = np.zeros((len(vertices), 4)), []
    for column, side in ((0, 1), (2, -1)):
        base, tip = _EAR_BASE * [side, 1, 1], _EAR_TIP * [side, 1, 1]
        along = _along_ear(rig, side)
        outer = _smooth((along - 0.4) / 0.35)
        ears[:, column + 1] = outer
        ears[:, column] = _smooth((along - 0.02) / 0.25) * (1 - outer)
        vertices += np.clip(along, 0, 1)[:, None] * (tip - base) * (shape.ear_length - 1)
        pivots += [base, base + 0.5 * shape.ear_length * (tip - base)]
    weights = np.concatenate([rig.weights * (1 - ears.sum(1, keepdims=True)), ears], 1)
    return weights.astype(np.float32), np.array(pivots), vertices


def _stretch_muzzle(rig: DogRig, vertices: np.ndarray, length: float) -> np.ndarray:
    """Scale what lies before the eyes along y."""
    bones = rig.bone_names
    head = rig.weights[:, [bones.index("skull"), bones.index("jaw")]].sum(1)
    ahead = np.minimum(vertices[:, 1] - rig.iris_m[0, 1], 0)
    stretched = vertices.copy()
    stretched[:, 1] += head * ahead * (length - 1)
    return stretched


def _coat(rig: DogRig, normals: np.ndarray, shape: QuadrupedShape) -> tuple[np.ndarray, np.ndarray]:
    """How far fur stands off the skin [V], m, and how much of a mane each vertex has, 0..1."""
    share = {"skull": 0.25, "jaw": 0.15, "C_1": 0.7} | {f"{bone}_{side}": 0.5 for bone in _LEG_ENDS for side in "LR"}
    share |= {f"{bone}_{side}": 0.15 for bone in _PAWS for side in "LR"}
    fur = rig.weights @ np.array([share.get(name, 1.0) for name in rig.bone_names])
    maned = [k for k, name in enumerate(rig.bone_names) if name.startswith("C_")]
    behind_eyes = np.clip((rig.vertices[:, 1] - rig.iris_m[0, 1]) / 0.06 - 0.2, 0, 1)
    chest = np.clip((-0.12 - rig.vertices[:, 1]) / 0.06, 0, 1) * np.clip((rig.vertices[:, 2] - 0.36) / 0.08, 0, 1)
    mane = np.clip(
        rig.weights[:, maned].sum(1) + 0.7 * behind_eyes * rig.weights[:, rig.bone_names.index("skull")], 0, 1
    )
    mane = np.clip(mane + 0.8 * chest * rig.weights[:, rig.bone_names.index("torso")], 0, 1)
    ears = sum(np.clip(_along_ear(rig, side) * 4, 0, 1) for side in (1, -1))
    mane = mane * (1 - ears) * (shape.mane > 0.05)
    locks = 1 + 0.35 * ripple(rig.vertices * 1.5)
    return (shape.coat_m * fur + 0.075 * shape.mane * _smooth(mane)) * (1 - ears) * locks, mane


def _bone_scales(rig: DogRig, shape: QuadrupedShape) -> np.ndarray:
    """Scale [B+4,3] of each bone along x (girth), y (length) and z (height) at rest."""
    leg = (shape.leg_girth, np.sqrt(shape.leg_girth * shape.leg_length), shape.leg_length)
    by_prefix = {
        "upper_": leg, "lower_": leg, "foot": leg, "hand": leg,
        "toe": (shape.paw_size,) * 3, "finger": (shape.paw_size,) * 3,
        "torso": (shape.trunk_girth, shape.trunk_length, shape.trunk_depth),
        "L_": (shape.trunk_girth, shape.trunk_length, shape.trunk_depth),
        "scapula": (shape.trunk_girth, 1.0, shape.trunk_depth),
        "pelvis": (shape.trunk_girth**0.8, np.sqrt(shape.trunk_length), np.sqrt(shape.trunk_depth)),
        "Ca_": (shape.tail_girth, shape.tail_length, np.sqrt(shape.tail_length * shape.tail_girth)),
        "C_": (shape.neck_girth, np.sqrt(shape.neck_length * shape.neck_girth), shape.neck_length),
        "skull": (shape.head_size,) * 3, "jaw": (shape.head_size,) * 3,
    }  # fmt: skip
    scales = [next(scale for prefix, scale in by_prefix.items() if name.startswith(prefix)) for name in rig.bone_names]
    return np.array([*scales, *[(shape.head_size,) * 3] * 4])


_EYE_RINGS, _EYE_SECTORS = 8, 12
_EYE_VERTICES = (_EYE_RINGS - 1) * _EYE_SECTORS + 2


def _eyeballs(rig: DogRig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two balls in the dog's empty sockets: vertices (front pole first), faces, part of each face."""
    ring, sector = np.meshgrid(np.arange(1, _EYE_RINGS), np.arange(_EYE_SECTORS), indexing="ij")
    polar, around = np.pi * ring / _EYE_RINGS, 2 * np.pi * sector / _EYE_SECTORS
    inner = np.stack([np.cos(around) * np.sin(polar), -np.cos(polar), np.sin(around) * np.sin(polar)], -1).reshape(
        -1, 3
    )
    ball = np.concatenate([[[0, -1, 0]], inner, [[0, 1, 0]]])
    grid = 1 + np.arange((_EYE_RINGS - 1) * _EYE_SECTORS).reshape(_EYE_RINGS - 1, _EYE_SECTORS)
    after = np.roll(grid, -1, axis=1)
    front = np.stack([np.zeros_like(grid[0]), grid[0], after[0], after[0]], -1)
    back = np.stack([grid[-1], np.full_like(grid[0], len(ball) - 1), after[-1], after[-1]], -1)
    sides = np.stack([grid[:-1], grid[1:], after[1:], after[:-1]], -1).reshape(-1, 4)
    faces = np.concatenate([front, sides, back])
    middle = ball[faces].mean(1)
    # A dog shows almost no white: the iris reaches 50 degrees.
    parts = np.where(-middle[:, 1] > np.cos(np.radians(50)), PART_NAMES.index("iris"), PART_NAMES.index("eyes"))
    vertices = []
    for iris, side in zip(rig.iris_m, (1, -1), strict=True):
        look = matrix_from_rotvec(np.array([0, 0, side * np.radians(20)]))
        vertices.append(iris + _EYE_RADIUS_M * (ball + np.array([0, 0.85, 0])) @ look.T)
    return (
        np.concatenate(vertices),
        np.concatenate([faces, faces + len(ball)]),
        np.concatenate([parts, parts]).astype(np.uint8),
    )


def _smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def _sided(table: dict[str, str], joint: str) -> str:
    """An entry of a table that is written for the left side only."""
    if joint in table:
        return table[joint]
    bone = table[joint.replace("right_", "left_")]
    return f"{bone[:-2]}_R" if bone.endswith("_L") else bone
