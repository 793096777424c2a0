"""Poses of animals: clips, gaits and stances, blended, turned here and there, within joint limits.

Conventions: a pose is one rotation vector a bone, relative to its parent and to the standing rest pose; world axes at
rest, so +x swings the lower end of a leg backwards and a nose or a tail's end downwards or upwards. Every base can
take up every pose. Nothing here draws random numbers.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from posecore.transforms import matrix_from_rotvec, rotvec_from_matrix
from synthgen.subjects.animals.bake import CLIP_ACTIONS, GLB_WITHERS_M
from synthgen.subjects.animals.gaits import CADENCE_HZ, GAITS, STANCES, gait_angles, gait_clearances
from synthgen.subjects.animals.rig import BONE, BONES, CLIP_RATE_HZ, MIRRORED, PARENTS, TAIL, AnimalClip
from synthgen.subjects.animals.shape import HOOFED

Leg = Literal["left_front", "right_front", "left_back", "right_back"]
LEGS = get_args(Leg)
ACTIONS = (*GAITS, *(action for action in dict.fromkeys(CLIP_ACTIONS.values()) if action not in GAITS))
"""What animals may do: gaits and stances of gaits.Gait, and what there are clips of; walk and gallop are both."""
_PAWED = ("fox", "wolf", "husky", "shibainu")
# What only one kind of animal has a clip of, and what the other does instead.
_INSTEAD = {"attack": ("headbutt", "kick"), "headbutt": ("attack",), "kick": ("attack",)}

# Which bone each hinge of dog.xml turns, and about which axis; written for the left side.
_HINGES = {
    "hip_L_supinate": ("thigh_L", (0, 0, 1)), "hip_L_abduct": ("thigh_L", (0, -1, 0)),
    "hip_L_extend": ("thigh_L", (1, 0, 0)),
    "knee_L": ("shin_L", (-1, 0, 0)), "ankle_L": ("cannon_L", (1, 0, 0)), "toe_L": ("foot_L", (1, 0, 0)),
    "scapula_L_extend": ("scapula_L", (1, 0, 0)), "shoulder_L_extend": ("upper_arm_L", (1, 0, 0)),
    "elbow_L": ("forearm_L", (1, 0, 0)), "wrist_L": ("hand_L", (-1, 0, 0)), "finger_L": ("finger_L", (1, 0, 0)),
    "C_7_extend": ("spine3", (1, 0, 0)), "C_5_extend": ("neck1", (1, 0, 0)), "C_3_extend": ("neck2", (1, 0, 0)),
    "C_1_extend": ("neck3", (1, 0, 0)), "atlas": ("head", (-1, 0, 0)),
    # The dog's loins hang on its chest, ours the other way round.
    **{f"L_{n}_{kind}": (bone, axis) for n, bone in ((1, "spine2"), (3, "spine2"), (5, "spine1"), (7, "spine1"))
       for kind, axis in (("extend", (-1, 0, 0)), ("bend", (0, 0, -1)))},
    **{f"Ca_{n}_extend": (TAIL[min(n // 4, 5)], (1, 0, 0)) for n in range(1, 22, 2)},
}  # fmt: skip
# How far bones turn about x, relative to rest, and to either side about y and z. Of the paws of dogs and their like:
# dog.xml; others follow what clips do, with room.
_LIMITS_DEG = {
    "pelvis": (-90, 90, 90), "spine": (-25, 25, 22), "neck": (-40, 62, 35), "head": (-45, 45, 40), "jaw": (0, 40, 2),
    "ear": (-60, 60, 60), "tail": (-60, 60, 45), "scapula": (-30, 30, 15), "upper_arm": (-65, 65, 20),
    "forearm": (-105, 35, 8), "hand": (-25, 110, 8), "finger": (-25, 100, 8), "hip": (-20, 20, 15),
    "thigh": (-130, 60, 35), "shin": (-15, 125, 8), "cannon": (-105, 30, 8), "foot": (-25, 90, 8), "toe": (-25, 80, 8),
}  # fmt: skip
_LIMITS_OF_HOOFED_DEG = _LIMITS_DEG | {"forearm": (-8, 140, 6), "upper_arm": (-85, 75, 15), "hand": (-45, 110, 6)}
# Stances of animals whose fore legs bend at the carpus, degrees about x.
_HOOFED_LYING = {
    "upper_arm": -62.0, "forearm": 138.0, "hand": 18.0, "finger": 30.0, "thigh": -72.0, "shin": 108.0, "cannon": -92.0,
    "foot": 62.0, "toe": 15.0, "tail1": 18.0,
}  # fmt: skip
_HOOFED_GRAZING = {
    "spine3": 22.0, "neck1": 32.0, "neck2": 28.0, "neck3": 12.0, "head": -6.0,
}  # fmt: skip
# How far backwards the bones of a leg point at rest, 0 straight down, in the animals that the stances were made for:
# the dog and, of the hoofed, the horse. Whoever sits or lies puts the legs as these do, however it stands.
_LEG_SLOPES_DEG = {"upper_arm": 19.0, "forearm": -0.9, "hand": -18.4, "thigh": 7.8, "shin": 52.3, "cannon": 7.1}
_LEG_SLOPES_OF_HOOFED_DEG = {
    "upper_arm": -2.3, "forearm": 6.8, "hand": -21.8, "thigh": -20.6, "shin": 45.6, "cannon": -1.5,
}  # fmt: skip
_STIFFER_IN_HOOFED = {"spine1": 0.35, "spine2": 0.35, "spine3": 0.5, "neck1": 0.5}  # than a dog's, in its gaits
_FOLDED = ("sit", "lie")
_STANCE_DEPTH = 0.1
_LEG_ENDS = {"upper_arm": "forearm", "forearm": "hand", "hand": "finger", "thigh": "shin", "shin": "cannon",
             "cannon": "foot"}  # fmt: skip
_RAISED_FRONT = {"upper_arm": -38.0, "forearm": -58.0, "hand": 62.0, "finger": 40.0}
_RAISED_FRONT_HOOFED = {"upper_arm": -42.0, "forearm": 85.0, "hand": 25.0, "finger": 30.0}
_MOST_PITCH_RAD, _MOST_PITCH_OF_CLIP_RAD = 1.2, 0.2
_RAISED_BACK = {"thigh": -32.0, "shin": 48.0, "cannon": -38.0, "foot": 30.0}


@dataclass(frozen=True)
class QuadrupedPose:
    """A pose as numbers.

    Attributes:
        motion: a gait or stance of gaits.Gait, or a clip as "BASE/ACTION", such as "wolf/gallop".
        phase: 0..1, when in the gait's cycle or in the clip.
        blend_motion, blend_phase, blend_share: what the pose is turned towards, bone by bone, and how far; or None.
        stride: 1 leaves motions as they are, 0 stands still; stances are hardly less deep before that.
        mirrored: swap left and right of the motion.
        head_yaw_deg: + turns the head to the animal's left; head_pitch_deg: + lowers it. Spread over the neck.
        tail_lift_deg: + raises the tail; tail_swing_deg: + to the left. Spread over the tail.
        spine_bend_deg: + curves the rump to the left.
        mouth_open: 0 closed, 1 wide, where the base has a mouth that opens.
        raised_leg: a leg that is held up, or None; raised_share: how high, 0..1.
        jitter: bone -> rotation vector, radians, added before the joint limits.
        heading_deg: turn about z, counter-clockwise seen from above; 0 faces -y.
        elapsed_s: how long ago the phase was: a sequence is one pose with growing elapsed_s.
        moves: whether the pose is of a sequence: the animal goes where its paws take it, and these do not slide (but
            in a blend of two motions).
    """

    motion: str = "stand"
    phase: float = 0.0
    blend_motion: str | None = None
    blend_phase: float = 0.0
    blend_share: float = 0.0
    stride: float = 1.0
    mirrored: bool = False
    head_yaw_deg: float = 0.0
    head_pitch_deg: float = 0.0
    tail_lift_deg: float = 0.0
    tail_swing_deg: float = 0.0
    spine_bend_deg: float = 0.0
    mouth_open: float = 0.0
    raised_leg: Leg | None = None
    raised_share: float = 0.0
    jitter: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    heading_deg: float = 0.0
    elapsed_s: float = 0.0
    moves: bool = False

    def __post_init__(self) -> None:
        for name in ("motion", "blend_motion"):
            motion = getattr(self, name)
            if motion is not None and motion not in GAITS:
                base, _, action = motion.partition("/")
                if base not in GLB_WITHERS_M or action not in CLIP_ACTIONS.values():
                    raise ValueError(
                        f"QuadrupedPose.{name}={motion!r}: choose one of {', '.join(GAITS)}, or BASE/ACTION with a "
                        f"base of {', '.join(GLB_WITHERS_M)} and an action of {', '.join(ACTIONS)}"
                    )
        unknown = set(self.jitter) - set(BONES)
        if unknown:
            raise ValueError(f"QuadrupedPose.jitter: no bone {sorted(unknown)[0]!r}; known: {', '.join(BONES)}")


@dataclass(frozen=True, eq=False)
class Stance:
    """What a pose means for an animal of any build.

    Attributes:
        rotations: [B,3,3] global, heading not yet applied.
        clearances: [2] how high the lowest point of the fore and of the hind part is, in heights of the hip.
        most_pitch_rad: how far the body may be pitched to bring them there.
    """

    rotations: np.ndarray
    clearances: np.ndarray
    most_pitch_rad: float


def strike(clips: dict[str, AnimalClip], base: str, heads: np.ndarray, pose: QuadrupedPose) -> Stance:
    """Take up a pose: motion, blend, stride, mirror, head, tail, spine, leg, jitter, limits, in this order.

    Args:
        clips: by "BASE/ACTION".
        base: of the animal that takes it up. heads: [B,3] its bones at rest.

    Raises:
        ValueError: an unknown clip.
    """
    turns, clearances = _moment(clips, base, pose.motion, pose.phase, pose.elapsed_s)
    if pose.blend_motion is not None:
        other, other_clearances = _moment(clips, base, pose.blend_motion, pose.blend_phase, pose.elapsed_s)
        turns = turns + pose.blend_share * (other - turns)
        clearances = clearances + pose.blend_share * (other_clearances - clearances)
    depth = min(pose.stride, 1.0) ** _STANCE_DEPTH  # nobody lies by half
    stride = depth if pose.motion in STANCES else pose.stride
    turns, clearances = stride * turns, min(stride, 1.0) * clearances
    if pose.mirrored:
        turns = turns[MIRRORED] * [1, -1, -1]
    given = turns.copy()
    _add(turns, ("spine3", "neck1", "neck2", "neck3", "head"), (pose.head_pitch_deg, 0, pose.head_yaw_deg))
    _add(turns, TAIL, (pose.tail_lift_deg, 0, -pose.tail_swing_deg))
    _add(turns, ("spine1", "spine2"), (0, 0, pose.spine_bend_deg))
    turns[BONE["jaw"], 0] += np.radians(35) * pose.mouth_open
    if pose.raised_leg is not None:
        side, _, end = pose.raised_leg.partition("_")
        front = _RAISED_FRONT_HOOFED if base in HOOFED else _RAISED_FRONT
        for stem, angle in (front if end == "front" else _RAISED_BACK).items():
            turns[BONE[f"{stem}_{side[0].upper()}"], 0] += np.radians(angle) * pose.raised_share
    for name, turn in pose.jitter.items():
        turns[BONE[name]] += turn
    turns = _limited(turns, given, base)
    rotations = matrix_from_rotvec(turns)
    for bone, parent in enumerate(PARENTS):
        if parent >= 0:
            rotations[bone] = rotations[parent] @ rotations[bone]
    blend_share = pose.blend_share if pose.blend_motion is not None else 0.0
    folded = (1 - blend_share) * (pose.motion in _FOLDED) + blend_share * (pose.blend_motion in _FOLDED)
    if folded:
        _slope_legs(rotations, heads, base in HOOFED, folded * depth)
    # A clip's own pitch is nearly right for any animal, and who runs stays level; a stance needs any pitch.
    most_pitch_rad = _MOST_PITCH_RAD if pose.motion in STANCES else _MOST_PITCH_OF_CLIP_RAD
    return Stance(rotations, clearances, most_pitch_rad)


def _slope_legs(rotations: np.ndarray, heads: np.ndarray, is_hoofed: bool, share: float) -> None:
    """Point the legs' bones where those of the stance's model point, in place."""
    for stem, wanted_deg in (_LEG_SLOPES_OF_HOOFED_DEG if is_hoofed else _LEG_SLOPES_DEG).items():
        for end in "LR":
            bone = BONE[f"{stem}_{end}"]
            _, back, up = heads[BONE[f"{_LEG_ENDS[stem]}_{end}"]] - heads[bone]
            turn = np.radians(wanted_deg) - np.arctan2(back, -up)
            rotations[bone] = rotations[bone] @ matrix_from_rotvec(np.array([share * turn, 0, 0]))


def clip_sources(action: str, base: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of clips that show an action: of the base itself or, if it has none, of its kind; and of all bases."""
    hoofed = action not in ("attack",)
    pawed = action not in ("headbutt", "kick")
    sources = {True: HOOFED if hoofed else (), False: _PAWED if pawed else ()}
    is_hoofed = base in HOOFED
    known = action in CLIP_ACTIONS.values()
    if not known:
        return (), ()
    if not sources[is_hoofed]:
        own = tuple(f"{source}/{other}" for other in _INSTEAD[action] for source in (HOOFED if is_hoofed else _PAWED))
    elif base in sources[is_hoofed]:
        own = (f"{base}/{action}",)
    else:
        own = tuple(f"{source}/{action}" for source in sources[is_hoofed])
    return own, tuple(f"{source}/{action}" for source in (*sources[True], *sources[False]))


def cycle_s(clips: dict[str, AnimalClip], motion: str) -> float:
    """How long a gait's cycle or a clip lasts."""
    return 1 / CADENCE_HZ[motion] if motion in GAITS else _clip(clips, motion).duration_s


def _moment(
    clips: dict[str, AnimalClip], base: str, motion: str, phase: float, elapsed_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Turns [B,3] and clearances [2] of a motion that began `elapsed_s` ago at a phase."""
    if motion in GAITS:
        now = (phase + elapsed_s * CADENCE_HZ[motion]) % 1
        return _gait_turns(motion, now, base), np.array(gait_clearances(motion, now))
    clip = _clip(clips, motion)
    last = len(clip.turns) - 1
    at = phase * last + elapsed_s * CLIP_RATE_HZ
    at = at % last if clip.loops else min(at, last)
    before = min(int(at), last - 1)
    share = at - before
    turns, clearances = (
        (1 - share) * values[before] + share * values[before + 1] for values in (clip.turns, clip.clearances)
    )
    source = motion.partition("/")[0]
    return _translated(turns, source in HOOFED, base in HOOFED), clearances


def _translated(turns: np.ndarray, from_hoofed: bool, to_hoofed: bool) -> np.ndarray:
    """Give a fore leg that bends at the carpus what one that bends at elbow and wrist does, or the other way round."""
    if from_hoofed == to_hoofed:
        return turns
    turns = turns.copy()
    for end in "LR":
        upper_arm, forearm, hand = (BONE[f"{name}_{end}"] for name in ("upper_arm", "forearm", "hand"))
        if from_hoofed:
            turns[hand] += turns[forearm]
            turns[forearm] *= -0.5
        else:
            turns[upper_arm] += 0.5 * turns[forearm]
            turns[forearm] = np.abs(turns[forearm]) * [0.9, 0, 0]
    return turns


def _clip(clips: dict[str, AnimalClip], name: str) -> AnimalClip:
    if name not in clips:
        raise ValueError(f"QuadrupedPose: no clip {name!r}; there are: {', '.join(sorted(clips))}")
    return clips[name]


def _gait_turns(gait: str, phase: float, base: str) -> np.ndarray:
    turns = np.zeros((len(BONES), 3))
    own = {"lie": _HOOFED_LYING, "sit": _HOOFED_LYING, "graze": _HOOFED_GRAZING}.get(gait)
    if base in HOOFED and own is not None:
        for name in BONES:
            stem = name[:-2] if name[-2] == "_" else name
            turns[BONE[name], 0] = np.radians(own.get(stem, 0))
        return turns
    combined: dict[int, np.ndarray] = {}
    for hinge, angle in gait_angles(gait, phase, 1.0).items():
        bone, axis = _sided_hinge(hinge)
        if base in HOOFED and bone.startswith("forearm"):
            continue  # the carpus must not bend as an elbow does
        turn = matrix_from_rotvec(np.radians(angle) * np.array(axis, float))
        combined[BONE[bone]] = combined.get(BONE[bone], np.eye(3)) @ turn
    for bone, turn in combined.items():
        turns[bone] = rotvec_from_matrix(turn)
    if base in HOOFED:  # what lifts a dog's paw at elbow and wrist lifts a hoof at the carpus
        for end in "LR":
            turns[BONE[f"forearm_{end}"], 0] = turns[BONE[f"hand_{end}"], 0]
            turns[BONE[f"hand_{end}"], 0] *= 0.5
        for name, share in _STIFFER_IN_HOOFED.items():
            turns[BONE[name]] *= share
    if gait not in STANCES:  # a back that bends does so to both ends
        turns[BONE["pelvis"], 0] = -0.5 * turns[[BONE["spine1"], BONE["spine2"]], 0].sum()
    return turns


def _sided_hinge(hinge: str) -> tuple[str, tuple[float, float, float]]:
    if hinge in _HINGES:
        return _HINGES[hinge]
    bone, (x, y, z) = _HINGES[hinge.replace("_R", "_L")]
    return bone[:-1] + "R", (x, -y, -z)


def _add(turns: np.ndarray, bones: tuple[str, ...], degrees: tuple[float, float, float]) -> None:
    """Spread a turn evenly over a chain of bones, in place."""
    for name in bones:
        turns[BONE[name]] += np.radians(degrees) / len(bones)


def _limited(turns: np.ndarray, given: np.ndarray, base: str) -> np.ndarray:
    """Turns within the joints' limits, or within what the motion itself does where that is more."""
    limits = _LIMITS_OF_HOOFED_DEG if base in HOOFED else _LIMITS_DEG
    table = np.radians([next(limits[stem] for stem in limits if name.startswith(stem)) for name in BONES])
    low = np.stack([table[:, 0], -table[:, 2], -table[:, 2]], 1)
    high = np.stack([table[:, 1], table[:, 2], table[:, 2]], 1)
    return np.clip(turns, np.minimum(low, given), np.maximum(high, given))
