"""Stances and gaits of a four-legged animal as hinge angles, driven by a phase.

Conventions: degrees, names as in dog.xml; hip, scapula, shoulder, toe and finger are positive when the lower end swings
backwards, knee, ankle, elbow and wrist are negative when bent, spine joints are positive when they lift what lies
behind them (tail, loins) or lower what lies ahead (neck). Amplitudes were set by eye against footage-like proportions:
they give plausible poses, not biomechanics.
"""

from typing import Literal, get_args

import numpy as np

Gait = Literal["stand", "walk", "trot", "gallop", "sit", "lie", "graze"]
GAITS = get_args(Gait)

# When in the cycle each leg's paw lands, and the share of the cycle that it stays on the ground.
_CYCLES = {
    "walk": ({"hind_L": 0.0, "fore_L": 0.25, "hind_R": 0.5, "fore_R": 0.75}, 0.62),
    "trot": ({"hind_L": 0.0, "fore_R": 0.0, "hind_R": 0.5, "fore_L": 0.5}, 0.48),
    "gallop": ({"hind_L": 0.0, "hind_R": 0.1, "fore_L": 0.45, "fore_R": 0.58}, 0.32),
}
STANCES = tuple(gait for gait in GAITS if gait not in _CYCLES)
CADENCE_HZ = {"stand": 0.2, "walk": 0.9, "trot": 1.7, "gallop": 2.2, "sit": 0.2, "lie": 0.2, "graze": 0.3}
"""How often each stance's or gait's cycle repeats: figures of a middle-sized dog."""

_FLIGHT = 0.06
_REACH = {"walk": 1.0, "trot": 1.15, "gallop": 1.8}

_TAIL_OFF_THE_GROUND = {f"Ca_{joint}_extend": 11.0 for joint in range(1, 14, 2)}
_SITTING = {
    **{f"hip_{side}_extend": -72.0 for side in "LR"},
    **{f"hip_{side}_abduct": 18.0 for side in "LR"},
    **{f"knee_{side}": -105.0 for side in "LR"},
    **{f"ankle_{side}": -74.0 for side in "LR"},
    **{f"toe_{side}": 40.0 for side in "LR"},
    **{f"scapula_{side}_extend": 18.0 for side in "LR"},
    **{f"shoulder_{side}_extend": 18.0 for side in "LR"},
    **{f"elbow_{side}": 8.0 for side in "LR"},
    **{f"C_{joint}_extend": 12.0 for joint in (7, 5, 3, 1)},
    **_TAIL_OFF_THE_GROUND,
}
_LYING = {
    **{f"hip_{side}_extend": -78.0 for side in "LR"},
    **{f"hip_{side}_abduct": 20.0 for side in "LR"},
    **{f"knee_{side}": -119.0 for side in "LR"},
    **{f"ankle_{side}": -97.0 for side in "LR"},
    **{f"toe_{side}": 55.0 for side in "LR"},
    **{f"shoulder_{side}_extend": 14.0 for side in "LR"},
    **{f"elbow_{side}": -99.0 for side in "LR"},
    **{f"finger_{side}": 60.0 for side in "LR"},
    **_TAIL_OFF_THE_GROUND,
}
_GRAZING = {
    "C_7_extend": 60.0,
    "C_5_extend": 40.0,
    "C_3_extend": 4.0,
    "C_1_extend": -16.0,
    "atlas": 20.0,
    **{f"scapula_{side}_extend": -14.0 for side in "LR"},
    **{f"shoulder_{side}_extend": 42.0 for side in "LR"},
    **{f"elbow_{side}": -42.0 for side in "LR"},
    **{f"wrist_{side}": 8.0 for side in "LR"},
}


def gait_angles(gait: Gait, phase: float, stride: float) -> dict[str, float]:
    """Hinge angles of a stance or of a moment of a gait.

    Args:
        phase: 0..1 of a cycle; does nothing for the stances.
        stride: 1 is the usual length of step; 0 stands still (or scales a stance down to standing).

    Returns:
        Degrees by joint name; a joint that is not named stays at 0.
    """
    match gait:
        case "stand":
            return {}
        case "sit" | "lie" | "graze":
            stance = {"sit": _SITTING, "lie": _LYING, "graze": _GRAZING}[gait]
            return {name: stride * angle for name, angle in stance.items()}
        case _:
            landings, duty = _CYCLES[gait]
            return _cycle_angles(landings, duty, phase, stride * _REACH[gait], bounding=gait == "gallop")


def gait_clearances(gait: Gait, phase: float) -> tuple[float, float]:
    """How high the fore and the hind paws are while both of a pair are in the air, in heights of the hip."""
    if gait not in _CYCLES:
        return 0.0, 0.0
    landings, duty = _CYCLES[gait]
    lifts = {leg: _leg_cycle((phase - landing) % 1.0, duty)[1] for leg, landing in landings.items()}
    fore, hind = (min(lifts[f"{end}_{side}"] for side in "LR") for end in ("fore", "hind"))
    return _FLIGHT * _REACH[gait] * fore, _FLIGHT * _REACH[gait] * hind


def _cycle_angles(
    landings: dict[str, float], duty: float, phase: float, reach: float, bounding: bool
) -> dict[str, float]:
    angles: dict[str, float] = {}
    for leg, landing in landings.items():
        sweep, lift = _leg_cycle((phase - landing) % 1.0, duty)
        end, side = leg.split("_")
        if end == "hind":
            angles |= {
                f"hip_{side}_extend": reach * (17 * sweep - 20 * lift),
                f"knee_{side}": -reach * 32 * lift,
                f"ankle_{side}": -reach * (24 * lift - 6 * max(sweep, 0)),
                f"toe_{side}": reach * (16 * lift + 10 * max(sweep, 0)),
            }
        else:
            angles |= {
                f"scapula_{side}_extend": reach * 11 * sweep,
                f"shoulder_{side}_extend": reach * (15 * sweep + 14 * lift),
                f"elbow_{side}": -reach * 52 * lift,
                f"wrist_{side}": -reach * 46 * lift,
                f"finger_{side}": reach * (22 * lift + 8 * max(sweep, 0)),
            }
    if bounding:
        gathered = np.cos(2 * np.pi * (phase - 0.8))
        angles |= {f"L_{joint}_extend": -7 * reach * gathered for joint in (1, 3, 5, 7)}
        angles |= {"C_7_extend": 20.0, "C_5_extend": 10.0}
    else:
        sway = np.sin(2 * np.pi * phase)
        angles |= {f"L_{joint}_bend": 2 * reach * sway for joint in (1, 3, 5, 7)}
        angles |= {"C_7_extend": 4 * np.sin(4 * np.pi * phase)}
    return angles


def _leg_cycle(phase: float, duty: float) -> tuple[float, float]:
    """How far back the paw is, -1..1, and how far it is lifted, 0..1, at a phase since landing."""
    if phase < duty:
        return 2 * phase / duty - 1, 0.0
    swing = (phase - duty) / (1 - duty)
    return float(np.cos(np.pi * swing)), float(np.sin(np.pi * swing))
