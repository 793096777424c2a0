"""How deep an animal's legs reach into one another or into the head, and swinging them apart.

Spheres along the four legs and the head are held against those of the other limbs. Legs meet where paces cross, in
folded stances, and where a grazing head comes between the fore legs; trunk and thighs are left out: flesh gives way
there.
"""

from dataclasses import dataclass

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.animals.rig import BONE, AnimalBody

# Where spheres lie: limb, bones at both ends, shares of the way.
_SPHERES = (
    ("fore", "forearm", "hand", (0.15, 0.5, 0.85)),
    ("fore", "hand", "finger", (0.3, 1.0)),
    ("hind", "shin", "cannon", (0.6, 1.0)),
    ("hind", "cannon", "foot", (0.35, 0.7, 1.0)),
)
_CHAINS = {
    "fore": ("upper_arm", "forearm", "hand", "finger"),
    "hind": ("thigh", "shin", "cannon", "foot", "toe"),
}
_ROUNDS = 4
_MOST_TURN_RAD = 0.12
_GIVES = 0.25  # share of the radii by which flesh may be pressed in


@dataclass(frozen=True, eq=False)
class LimbSpheres:
    """Spheres of a build's limbs.

    Attributes:
        bones: [S,2] ends; shares: [S]. radii_m: [S].
        limbs: [S] number of the limb: left and right fore, left and right hind leg, head.
        chains: bones of each leg, the uppermost first.
    """

    bones: np.ndarray
    shares: np.ndarray
    radii_m: np.ndarray
    limbs: np.ndarray
    chains: tuple[np.ndarray, ...]


def limb_spheres(body: AnimalBody, vertices: np.ndarray, heads: np.ndarray) -> LimbSpheres:
    """Lay spheres along the limbs of a build.

    Args:
        vertices: [V,3] at rest, m. heads: [B,3] bone heads at rest, m.
    """
    bones, shares, radii, limbs = [], [], [], []
    for kind, start, stop, own_shares in _SPHERES:
        for side, end in enumerate("LR"):
            ends = [BONE[f"{name}_{end}"] for name in (start, stop)]
            for share in own_shares:
                point = heads[ends[0]] + share * (heads[ends[1]] - heads[ends[0]])
                bones.append(ends)
                shares.append(share)
                radii.append(np.linalg.norm(vertices - point, axis=1).min())
                limbs.append(2 * (kind == "hind") + side)
    nose = body.landmarks["nose"]
    head = BONE["head"]
    ahead = np.linalg.norm(vertices[nose].mean(0) - heads[head]) / np.linalg.norm(heads[BONE["jaw"]] - heads[head])
    for share in (0.25, 0.55, 0.85):
        point = heads[head] + share * ahead * (heads[BONE["jaw"]] - heads[head])
        bones.append([head, BONE["jaw"]])
        shares.append(share * ahead)
        radii.append(np.linalg.norm(vertices - point, axis=1).min())
        limbs.append(4)
    chains = tuple(np.array([BONE[f"{name}_{end}"] for name in _CHAINS[kind]]) for kind in _CHAINS for end in "LR")
    return LimbSpheres(np.array(bones), np.array(shares), np.array(radii), np.array(limbs), chains)


def clear_legs(spheres: LimbSpheres, rotations: np.ndarray, positions: np.ndarray) -> float:
    """Swing legs about their upper ends, in place, until they are out of one another and of the head, or nearly.

    Args:
        rotations: [B,3,3] global, positions: [B,3]: changed.

    Returns:
        The deepest that a limb still reaches into another, m; 0 for none.
    """
    apart = spheres.limbs[:, None] < spheres.limbs
    reach = spheres.radii_m[:, None] + spheres.radii_m
    for turn in range(_ROUNDS + 1):
        ends = positions[spheres.bones]
        points = ends[:, 0] + spheres.shares[:, None] * (ends[:, 1] - ends[:, 0])
        away = points[:, None] - points
        distance = np.linalg.norm(away, axis=2)
        depth = np.where(apart, (1 - _GIVES) * reach - distance, -np.inf)
        first, second = np.unravel_index(depth.argmax(), depth.shape)
        deepest = depth[first, second]
        if deepest <= 0 or turn == _ROUNDS:
            break
        outwards = away[first, second] / max(distance[first, second], 1e-6)
        for sphere, way in ((first, outwards), (second, -outwards)):
            limb = spheres.limbs[sphere]
            if limb < len(spheres.chains):
                _swing(spheres.chains[limb], points[sphere], 0.5 * deepest * way, rotations, positions)
    return float(max(deepest, 0.0))


def _swing(
    chain: np.ndarray, point: np.ndarray, move: np.ndarray, rotations: np.ndarray, positions: np.ndarray
) -> None:
    """Turn a leg about its upper end so that a point of it moves by about `move`, in place."""
    pivot = positions[chain[0]].copy()
    arm = point - pivot
    axis = np.cross(arm, move) / max(arm @ arm, 1e-9)
    angle = np.linalg.norm(axis)
    turn = matrix_from_rotvec(axis * min(1.0, _MOST_TURN_RAD / max(angle, 1e-9)))
    rotations[chain] = turn @ rotations[chain]
    positions[chain] = pivot + (positions[chain] - pivot) @ turn.T
