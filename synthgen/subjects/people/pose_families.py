"""What free poses and hands are drawn from: for each family, ranges of the angles of free_pose.py and of HandPose.

Conventions: ranges are (low, high), degrees. `alike` is how much the right side repeats the left one's draws: 1 mirrors
it. The ranges of sides are written for the left; joints named "left_..." or "right_..." differ on purpose. Set by eye.
"""

from dataclasses import dataclass

from synthgen.subjects.people.free_pose import Support

Range = tuple[float, float]
Angles = dict[str, tuple[Range, ...]]

_UPRIGHT_BACK: Angles = {
    "chest": ((-8, 22), (-10, 10), (-22, 22)),
    "neck": ((-18, 25), (-12, 12), (-45, 45)),
}
_BENT_BACK: Angles = {
    "chest": ((5, 40), (-12, 12), (-25, 25)),
    "neck": ((-35, 20), (-12, 12), (-40, 40)),
}
_LEVEL_FEET: Angles = {"ankle": ((0, 0), (0, 0), (0, 0))}
_POINTED_FEET: Angles = {"ankle": ((10, 50), (-8, 8), (-8, 8))}
_EASY_FEET: Angles = {"ankle": ((-10, 35), (-8, 8), (-8, 8))}
_NO_TURN: Angles = {"root": ((0, 0), (0, 0), (0, 0))}


@dataclass(frozen=True)
class Posture:
    """Pelvis, legs, spine and head."""

    support: Support
    alike: float
    angles: Angles


@dataclass(frozen=True)
class Arms:
    """Shoulders, elbows and wrists."""

    alike: float
    shoulder: tuple[Range, Range, Range]
    elbow: tuple[Range]
    wrist: tuple[Range, Range, Range] = ((-25, 35), (-12, 12), (-30, 30))

    @property
    def angles(self) -> Angles:
        return {"shoulder": self.shoulder, "elbow": self.elbow, "wrist": self.wrist}


POSTURES: dict[str, Posture] = {
    "stand": Posture(
        "feet",
        0.3,
        _NO_TURN | _UPRIGHT_BACK | _LEVEL_FEET | {"hip": ((0, 16), (30, 130), (0, 25)), "knee": ((0, 14),)},
    ),
    "stride": Posture(
        "feet",
        0,
        _NO_TURN
        | _UPRIGHT_BACK
        | _LEVEL_FEET
        | {
            "left_hip": ((20, 75), (-5, 25), (0, 20)),
            "left_knee": ((10, 85),),
            "right_hip": ((5, 30), (130, 175), (0, 30)),
            "right_knee": ((5, 45),),
        },
    ),
    "one_leg": Posture(
        "left_foot",
        0,
        _NO_TURN
        | _UPRIGHT_BACK
        | _EASY_FEET
        | {
            "left_hip": ((0, 15), (0, 60), (0, 15)),
            "left_knee": ((0, 25),),
            "right_hip": ((25, 110), (-20, 180), (0, 35)),
            "right_knee": ((0, 125),),
        },
    ),
    "crouch": Posture(
        "feet",
        0.75,
        _NO_TURN | _BENT_BACK | _LEVEL_FEET | {"hip": ((35, 95), (5, 35), (0, 25)), "knee": ((35, 105),)},
    ),
    "squat": Posture(
        "feet",
        0.85,
        _NO_TURN | _BENT_BACK | _LEVEL_FEET | {"hip": ((100, 128), (12, 40), (5, 30)), "knee": ((110, 145),)},
    ),
    "bend": Posture(
        "feet",
        0.8,
        _NO_TURN | _BENT_BACK | _LEVEL_FEET | {"hip": ((35, 110), (0, 15), (0, 15)), "knee": ((0, 30),)},
    ),
    "kneel": Posture(
        "knees",
        0.85,
        {"root": ((0, 12), (0, 0), (0, 0))}
        | _UPRIGHT_BACK
        | _POINTED_FEET
        | {"hip": ((0, 25), (0, 60), (-5, 15)), "knee": ((90, 112),)},
    ),
    "kneel_on_heels": Posture(
        "knees",
        0.9,
        {"root": ((0, 15), (0, 0), (0, 0))}
        | _UPRIGHT_BACK
        | {"hip": ((58, 78), (0, 25), (0, 15)), "knee": ((142, 153),), "ankle": ((35, 55), (0, 0), (0, 0))},
    ),
    "half_kneel": Posture(
        "left_foot_and_right_knee",
        0,
        {"root": ((0, 15), (0, 0), (0, 0))}
        | _UPRIGHT_BACK
        | {
            "left_hip": ((78, 100), (0, 20), (0, 15)),
            "left_knee": ((75, 100),),
            "left_ankle": ((-10, 5), (0, 0), (0, 0)),
            "right_hip": ((0, 15), (0, 60), (0, 10)),
            "right_knee": ((90, 105),),
            "right_ankle": ((-35, 40), (0, 0), (0, 0)),
        },
    ),
    "sit": Posture(
        "seat",
        0.6,
        {"root": ((-12, 12), (-5, 5), (0, 0))}
        | _UPRIGHT_BACK
        | _EASY_FEET
        | {"hip": ((65, 100), (0, 30), (0, 35)), "knee": ((0, 70),)},
    ),
    "sit_crossed": Posture(
        "seat",
        0.85,
        {"root": ((-8, 10), (0, 0), (0, 0))}
        | _BENT_BACK
        | _EASY_FEET
        | {"hip": ((70, 86), (45, 62), (62, 80)), "knee": ((115, 140),)},
    ),
    "sit_knees_up": Posture(
        "seat",
        0.8,
        {"root": ((-15, 5), (0, 0), (0, 0))}
        | _BENT_BACK
        | _EASY_FEET
        | {"hip": ((95, 128), (0, 20), (0, 10)), "knee": ((85, 130),)},
    ),
    "lie_on_back": Posture(
        "ground",
        0.4,
        {"root": ((-95, -85), (0, 0), (0, 0))}
        | _UPRIGHT_BACK
        | _EASY_FEET
        | {"hip": ((0, 60), (0, 60), (0, 35)), "knee": ((0, 100),)},
    ),
    "lie_on_belly": Posture(
        "ground",
        0.4,
        {"root": ((85, 95), (0, 0), (0, 0)), "chest": ((-25, 0), (-8, 8), (-12, 12))}
        | {"neck": ((-45, 0), (-10, 10), (-60, 60))}
        | {"hip": ((0, 18), (40, 120), (0, 30)), "knee": ((0, 100),), "ankle": ((10, 55), (0, 0), (0, 0))},
    ),
    "lie_on_side": Posture(
        "ground",
        0.4,
        {"root": ((-12, 12), (84, 96), (0, 0))}
        | _BENT_BACK
        | _EASY_FEET
        | {"hip": ((5, 90), (-5, 15), (-5, 15)), "knee": ((10, 110),)},
    ),
    "any": Posture(
        "ground",
        0,
        {"root": ((-60, 80), (-60, 60), (0, 0)), "chest": ((-30, 70), (-35, 35), (-50, 50))}
        | {"neck": ((-45, 45), (-35, 35), (-60, 60))}
        | {"hip": ((0, 120), (-60, 180), (-40, 60)), "knee": ((0, 145),), "ankle": ((-40, 45), (-25, 25), (-30, 30))},
    ),
}

ARMS: dict[str, Arms] = {
    "hang": Arms(0.3, ((2, 22), (20, 150), (-35, 15)), ((0, 40),)),
    "bent": Arms(0.2, ((5, 55), (0, 80), (-60, 0)), ((50, 130),)),
    "ahead": Arms(0.4, ((60, 115), (-10, 45), (-50, 20)), ((0, 40),)),
    "sideways": Arms(0.4, ((55, 115), (60, 100), (-40, 40)), ((0, 70),)),
    "overhead": Arms(0.5, ((135, 178), (10, 95), (-40, 40)), ((0, 90),)),
    "crossed": Arms(0.92, ((30, 42), (-5, 12), (-85, -65)), ((88, 108),), ((-10, 10), (-5, 5), (-15, 15))),
    "on_hips": Arms(0.9, ((38, 52), (100, 130), (-62, -40)), ((80, 105),), ((-10, 50), (-15, 0), (-20, 20))),
    "behind_head": Arms(0.9, ((125, 145), (70, 92), (10, 35)), ((125, 145),), ((-10, 20), (-10, 10), (-20, 20))),
    "behind_back": Arms(0.7, ((18, 35), (150, 175), (-80, -50)), ((40, 90),)),
    "to_face": Arms(0.3, ((35, 70), (-15, 25), (-60, -20)), ((115, 142),)),
    "any": Arms(0, ((0, 178), (-90, 180), (-95, 90)), ((0, 145),), ((-60, 60), (-25, 25), (-60, 60))),
}


@dataclass(frozen=True)
class Hand:
    """Ranges of HandPose; curl of thumb, index, middle, ring and little finger."""

    curl: tuple[Range, Range, Range, Range, Range]
    spread: Range
    thumb_across: Range


HANDS: dict[str, Hand] = {
    "open": Hand(((-0.1, 0.15),) + ((-0.08, 0.1),) * 4, (0.3, 1), (0, 0.3)),
    "flat": Hand(((0, 0.3),) + ((-0.03, 0.06),) * 4, (0, 0.15), (0, 0.5)),
    "relaxed": Hand(((0.1, 0.4), (0.12, 0.35), (0.18, 0.42), (0.22, 0.48), (0.25, 0.55)), (0, 0.4), (0.1, 0.5)),
    "fist": Hand(((0.5, 0.8),) + ((0.85, 1),) * 4, (0, 0), (0.7, 1)),
    "point": Hand(((0.3, 0.7), (-0.05, 0.12), (0.7, 0.95), (0.75, 1), (0.75, 1)), (0, 0.2), (0.4, 0.9)),
    "pinch": Hand(((0.25, 0.45), (0.4, 0.52), (0.1, 0.5), (0.1, 0.5), (0.1, 0.5)), (0, 0.4), (0.75, 1)),
    "v": Hand(((0.5, 0.8), (-0.05, 0.1), (-0.05, 0.1), (0.8, 1), (0.8, 1)), (0.7, 1), (0.7, 1)),
    "thumb_up": Hand(((-0.2, 0.05),) + ((0.85, 1),) * 4, (0, 0), (0, 0.1)),
    "any": Hand(((-0.1, 0.8),) + ((-0.08, 1),) * 4, (0, 1), (0, 1)),
}
