"""How deep limbs reach into the body, and turning them out of it.

Points inside hands, forearms, upper arms, thighs, shins and feet, each with the limb's radius there, are held against a
coarse sample of the posed skin. Limbs that belong together, such as calf and thigh of one leg, are not compared, nor
thigh and belly: flesh gives way there. World axes, metres; nothing here draws random numbers.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.mesh import vertex_normals
from synthgen.subjects.skinning import skin

FLESH_GIVES_M = 0.01
"""Flesh gives way by this much where limbs touch the body."""

# Groups of skin by the bone that moves it most; the first prefix that fits.
_GROUPS = {
    "upperarm": "arm", "lowerarm": "forearm", "wrist": "forearm", "metacarpal": "forearm",
    "upperleg": "thigh", "lowerleg": "shin", "foot": "shin", "neck": "head", "head": "head",
    "pelvis": "trunk", "spine": "trunk", "clavicle": "trunk", "shoulder": "trunk", "root": "trunk",
}  # fmt: skip
# Points of a limb: between two bones' heads, at these shares of the way.
_PROBES = (
    ("arm", "upperarm01", "lowerarm01", (0.6, 0.85)),
    ("forearm", "lowerarm01", "wrist", (0.05, 0.3, 0.55, 0.8)),
    ("forearm", "wrist", "finger3-1", (0.2, 0.9)),
    ("forearm", "finger3-1", "finger3-3", (0.6,)),
    ("thigh", "upperleg01", "lowerleg01", (0.65, 0.9)),
    ("shin", "lowerleg01", "foot", (0.2, 0.45, 0.7, 0.95)),
    ("shin", "foot", "toe3-1", (0.4, 0.9)),
)
# What each limb is held against. The other side's limbs come with "other_".
_AGAINST = {
    "arm": ("trunk", "head", "other_arm", "other_forearm"),
    "forearm": ("trunk", "head", "thigh", "shin", "other_thigh", "other_shin", "other_arm", "other_forearm"),
    "thigh": ("other_thigh", "other_shin"),
    "shin": ("trunk", "head", "other_thigh", "other_shin"),
}
_CHAINS = {
    "arm": ("upperarm", "lowerarm", "wrist", "metacarpal", "finger"),
    "leg": ("upperleg", "lowerleg", "foot", "toe"),
}
_GRID_M = 0.045
_NEIGHBOURS = 4  # a point is inside if it lies behind so many nearest points of the skin
_DEEPEST_M = 0.16  # no point inside a body is further from its skin
_ROUNDS = 8
_MOST_TURN_RAD = 0.15  # in a round
_LEVER_M = 0.1  # a point nearer to the joint than this is not turned faster


@dataclass(frozen=True, eq=False)
class ContactSurface:
    """What of a person's rest shape is needed.

    Attributes:
        vertices, weights, normals, bones: of N sampled points of the skin: [N,3], [N,B], [N,3] at rest, [N] bone that
            moves it most.
        probe_bones: [P,2]. probe_shares: [P]. radii_m: [P].
        compared: [P,N] bool.
        chains: bones [.] of each limb, its uppermost first. probe_chains: [P] index into chains.
    """

    vertices: np.ndarray
    weights: np.ndarray
    normals: np.ndarray
    bones: np.ndarray
    probe_bones: np.ndarray
    probe_shares: np.ndarray
    radii_m: np.ndarray
    compared: np.ndarray
    chains: tuple[np.ndarray, ...]
    probe_chains: np.ndarray


@dataclass(frozen=True, eq=False)
class _Limbs:
    """What of a ContactSurface follows from the bones alone; compared: [P,B] bool, by the bone that moves the skin."""

    probe_bones: np.ndarray
    probe_shares: np.ndarray
    compared: np.ndarray
    chains: tuple[np.ndarray, ...]
    probe_chains: np.ndarray


def contact_surface(
    bone_names: tuple[str, ...],
    vertices: np.ndarray,
    weights: np.ndarray,
    faces: np.ndarray,
    heads: np.ndarray,
) -> ContactSurface:
    """Sample a body at rest.

    Args:
        bone_names: MakeHuman's, [B].
        vertices: [V,3] m. weights: [V,B]. faces: [F,4] of the skin. heads: [B,3] m.
    """
    normals = vertex_normals(vertices, faces)
    used = np.flatnonzero(np.bincount(faces.ravel()))
    points = vertices[used].astype(np.float64)
    cells = np.floor(points / _GRID_M).astype(np.int64)
    _, first = np.unique(cells @ np.array([1, 10_000, 100_000_000]), return_index=True)
    sampled = used[np.sort(first)]
    strongest = weights[sampled].argmax(1)
    limbs = _limbs(bone_names)
    first, last = heads[limbs.probe_bones.T]
    probes = first + limbs.probe_shares[:, None] * (last - first)
    # squared distances by one product: many times as fast as differences
    apart = (points**2).sum(1)[:, None] - 2 * points @ probes.T + (probes**2).sum(1)
    return ContactSurface(
        vertices=vertices[sampled],
        weights=weights[sampled],
        normals=normals[sampled],
        bones=strongest,
        probe_bones=limbs.probe_bones,
        probe_shares=limbs.probe_shares,
        radii_m=np.sqrt(np.maximum(apart.min(0), 0)),
        compared=limbs.compared[:, strongest],
        chains=limbs.chains,
        probe_chains=limbs.probe_chains,
    )


def clear_limbs(
    surface: ContactSurface,
    heads: np.ndarray,
    rotations: np.ndarray,
    positions: np.ndarray,
    tolerated_m: float,
    turns: np.ndarray | None = None,
) -> float:
    """Turn arms about the shoulders and legs about the hips, in place, until they are out of the body, or nearly.

    Args:
        heads: [B,3] at rest. rotations: [B,3,3] global, positions: [B,3]: changed.
        turns: [4,3,3] turns of surface.chains to begin with, such as an earlier moment's; changed to the whole turns.

    Returns:
        The deepest that a limb still reaches in, m; 0 for none.
    """
    turns = np.tile(np.eye(3), (len(surface.chains), 1, 1)) if turns is None else turns
    for chain, turn in zip(surface.chains, turns, strict=True):
        _turn_chain(chain, turn, rotations, positions)
    for _ in range(_ROUNDS):
        depths, points, outwards = penetrations(surface, heads, rotations, positions)
        if depths.max() <= tolerated_m:
            break
        for number, chain in enumerate(surface.chains):
            probe = np.where(surface.probe_chains == number, depths, 0).argmax()
            if depths[probe] <= tolerated_m or surface.probe_chains[probe] != number:
                continue
            arm = points[probe] - positions[chain[0]]
            axis = np.cross(arm, outwards[probe])
            lever = np.linalg.norm(axis)
            angle = min(depths[probe] / max(lever, _LEVER_M), _MOST_TURN_RAD)
            turn = matrix_from_rotvec(axis / max(lever, 1e-9) * angle)
            _turn_chain(chain, turn, rotations, positions)
            turns[number] = turn @ turns[number]
    else:
        depths, _, _ = penetrations(surface, heads, rotations, positions)
    return float(max(depths.max(), 0.0))


def penetrations(
    surface: ContactSurface, heads: np.ndarray, rotations: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How deep each probe's limb reaches into the skin that it is compared with.

    Returns:
        Depths [P] in m, negative where there is a gap; the probes' places [P,3]; the way out of the skin [P,3].
    """
    posed = skin(surface.vertices, surface.weights, heads, rotations, positions)
    ends = positions[surface.probe_bones]
    points = ends[:, 0] + surface.probe_shares[:, None] * (ends[:, 1] - ends[:, 0])
    probes = points.astype(np.float32)
    squared = (probes**2).sum(1)[:, None] + (posed**2).sum(1) - 2 * probes @ posed.T
    squared[~surface.compared] = np.inf
    near = np.argpartition(squared, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    away = points[:, None] - posed[near]
    normals = np.einsum("pkij,pkj->pki", rotations[surface.bones[near]], surface.normals[near])
    distances = np.linalg.norm(away, axis=2)
    nearest = distances.argmin(1)
    distance = distances.min(1)
    inside = ((away * normals).sum(2) < 0).all(1) & (distance < _DEEPEST_M)
    return surface.radii_m - np.where(inside, -distance, distance), points, normals[np.arange(len(points)), nearest]


def _turn_chain(chain: np.ndarray, turn: np.ndarray, rotations: np.ndarray, positions: np.ndarray) -> None:
    pivot = positions[chain[0]].copy()
    rotations[chain] = turn @ rotations[chain]
    positions[chain] = pivot + (positions[chain] - pivot) @ turn.T


@lru_cache(maxsize=4)
def _limbs(bone_names: tuple[str, ...]) -> _Limbs:
    groups = np.array([_group(name) for name in bone_names])
    sides = np.array([name[-1] if name[-2] == "." else "" for name in bone_names])
    index = {name: bone for bone, name in enumerate(bone_names)}
    chains = tuple(
        np.array([bone for bone, name in enumerate(bone_names) if name.startswith(parts) and name.endswith(end)])
        for end in ("L", "R")
        for parts in _CHAINS.values()
    )
    probe_bones, shares, compared, probe_chains = [], [], [], []
    for number, end in enumerate("LR"):
        for limb, start, stop, limb_shares in _PROBES:
            if f"{stop}.{end}" not in index:  # a body without fingers
                continue
            bones = [index[f"{name}.{end}"] for name in (start, stop)]
            for share in limb_shares:
                probe_bones.append(bones)
                shares.append(share)
                compared.append(_is_compared(limb, end, groups, sides))
                probe_chains.append(2 * number + (limb in ("thigh", "shin")))
    return _Limbs(np.array(probe_bones), np.array(shares), np.array(compared), chains, np.array(probe_chains))


def _group(bone: str) -> str:
    return next((group for prefix, group in _GROUPS.items() if bone.startswith(prefix)), "none")


def _is_compared(limb: str, end: str, groups: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """For what bones [B] move, by group and side, whether a limb of the side `end` is held against them."""
    result = np.zeros(len(groups), bool)
    for against in _AGAINST[limb]:
        group = against.removeprefix("other_")
        in_group = groups == group
        if against.startswith("other_"):
            in_group &= sides != end
        elif group not in ("trunk", "head"):
            in_group &= sides == end
        result |= in_group
    return result
