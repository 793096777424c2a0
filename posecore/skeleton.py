"""Skeletons as data: joints, tree, edges, channel groups and how one skeleton maps to another.

Two supersets are stored in samples, `human` and `quadruped`; `coco17`, `h36m17`, `smpl24` and `ap10k17` are maps from
them. Everything about left and right follows once from the names: `left_x` and `right_x` mirror each other.
A joint's parent may come later in the order (AP-10K lists eyes first); code that walks the tree follows `walk_order`.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import yaml

from posecore.errors import UserError
from posecore.resources import resource_dir

SUPERSETS = ("human", "quadruped")
_LIMB_OF_PART = {
    "upper_arm": "arms", "forearm": "arms", "fore_upper": "arms", "fore_lower": "arms",
    "thigh": "legs", "shank": "legs", "hind_upper": "legs", "hind_lower": "legs",
}  # fmt: skip


@dataclass(frozen=True)
class Skeleton:
    """A named set of joints.

    Attributes:
        joints: names, in the order of every array of joints.
        parents: index of each joint's parent, -1 for the one root.
        edges: pairs of joint indices that the skeleton image and the overlays draw.
        parts: for each edge the body part it belongs to ("left_thigh", "torso", ...).
        groups: number of channels -> for each channel the parts that it draws.
        sigmas: OKS constant of each joint.
        superset: name of the stored skeleton that this one maps from; its own name for a superset.
        points: [K, J] weights; joint k is the weighted mean of the superset's joints. Identity for a superset.
        rotation_sources: for each joint the superset's joint whose rotation it carries.
        rest_m: [K, 3] positions in the template's rest pose, metres, z up, facing -y, left = +x.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    parts: tuple[str, ...]
    groups: dict[int, tuple[tuple[str, ...], ...]]
    sigmas: tuple[float, ...]
    superset: str
    points: np.ndarray
    rotation_sources: tuple[int, ...]
    rest_m: np.ndarray

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        return self.joints.index(joint)

    @cached_property
    def swap(self) -> tuple[int, ...]:
        """For each joint the index of its mirror image (itself on the midline)."""
        return tuple(self.index(mirror_name(joint)) for joint in self.joints)

    @cached_property
    def walk_order(self) -> tuple[int, ...]:
        """Joint indices, each parent before its children."""
        order: list[int] = []
        while len(order) < self.num_joints:
            ready = [j for j, p in enumerate(self.parents) if j not in order and (p < 0 or p in order)]
            if not ready:
                raise ValueError(f"skeleton {self.name}: parents form a cycle")
            order.extend(ready)
        return tuple(order)

    def side(self, joint: int) -> str:
        """ "left", "right" or "centre"."""
        prefix = self.joints[joint].split("_")[0]
        return prefix if prefix in ("left", "right") else "centre"

    @cached_property
    def limbs(self) -> dict[str, tuple[int, ...]]:
        """Joints of both "arms" and of both "legs" (fore and hind legs of animals), without those on the midline."""
        joints: dict[str, set[int]] = {"arms": set(), "legs": set()}
        for part, edge in zip(self.parts, self.edges, strict=True):
            limb = _LIMB_OF_PART.get(part.partition("_")[2])
            if limb is not None:
                joints[limb].update(joint for joint in edge if self.side(joint) != "centre")
        return {limb: tuple(sorted(found)) for limb, found in joints.items()}

    def edge_groups(self, num_channels: int) -> tuple[int, ...]:
        """Channel of each edge in a skeleton image of `num_channels`; as many channels as edges gives each its own.

        Raises:
            UserError: the skeleton has no grouping of that size.
        """
        if num_channels in self.groups:
            channel = {part: c for c, parts in enumerate(self.groups[num_channels]) for part in parts}
            return tuple(channel[part] for part in self.parts)
        if num_channels == len(self.edges):
            return tuple(range(len(self.edges)))
        known = ", ".join(str(n) for n in sorted({*self.groups, len(self.edges)}))
        raise UserError(f"skeleton {self.name} has no grouping into {num_channels} channels; choose one of {known}")

    def mirror_groups(self, num_channels: int) -> tuple[int, ...]:
        """For each channel the one that shows its content after a mirror: the left limbs' becomes the right limbs'."""
        channels = self.edge_groups(num_channels)
        mirrored = list(range(num_channels))
        for edge, channel in enumerate(channels):
            mirrored[channel] = channels[self._mirror_edges[edge]]
        return tuple(mirrored)

    @cached_property
    def _mirror_edges(self) -> tuple[int, ...]:
        as_sets = [frozenset(edge) for edge in self.edges]
        return tuple(as_sets.index(frozenset(self.swap[joint] for joint in edge)) for edge in self.edges)

    def to_dict(self) -> dict[str, Any]:
        """The form in which dataset.json stores a skeleton; `maps` names the derived skeletons of a superset."""
        derived = [s for s in map(load_skeleton, skeleton_names()) if s.superset == self.name and s.name != self.name]
        return {
            "joints": list(self.joints),
            "parents": list(self.parents),
            "swap": list(self.swap),
            "edges": [list(edge) for edge in self.edges],
            "groups": {str(n): list(self.edge_groups(n)) for n in sorted(self.groups)},
            "sigmas": list(self.sigmas),
            "rest_m": self.rest_m.tolist(),
            "maps": {s.name: {"joints": list(s.joints), "weights": s.points.tolist()} for s in derived},
        }


def mirror_name(name: str) -> str:
    """left_x <-> right_x; any other name is its own mirror image."""
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def skeleton_names() -> list[str]:
    return sorted(path.stem for path in (resource_dir("assets") / "skeletons").glob("*.yaml"))


@cache
def load_skeleton(name: str) -> Skeleton:
    """The packaged skeleton of that name.

    Raises:
        UserError: there is none.
    """
    path = resource_dir("assets") / "skeletons" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"unknown skeleton {name!r}; choose one of {', '.join(skeleton_names())}")
    data = yaml.safe_load(path.read_text())
    joints = tuple(data["joints"])
    index = joints.index
    edges = [(part, a, b) for part, pairs in data["edges"].items() for a, b in pairs]
    superset = data["superset"] or name
    if superset == name:
        points, rotation_sources = np.eye(len(joints)), tuple(range(len(joints)))
        rest = np.array([data["rest"][joint] for joint in joints])
    else:
        source = load_skeleton(superset)
        points = np.zeros((len(joints), source.num_joints))
        for row, joint in enumerate(joints):
            names = data.get("points", {}).get(joint, joint)
            names = [names] if isinstance(names, str) else names
            points[row, [source.index(n) for n in names]] = 1 / len(names)
        carried = data.get("rotations", {})
        rotation_sources = tuple(source.index(carried.get(joint, joint)) for joint in joints)
        rest = points @ source.rest_m
    return Skeleton(
        name=data["name"],
        joints=joints,
        parents=tuple(-1 if j["parent"] is None else index(j["parent"]) for j in data["joints"].values()),
        edges=tuple((index(a), index(b)) for _, a, b in edges),
        parts=tuple(part for part, _, _ in edges),
        groups={int(n): tuple(tuple(parts) for parts in g) for n, g in data["groups"].items()},
        sigmas=tuple(float(j["sigma"]) for j in data["joints"].values()),
        superset=superset,
        points=points,
        rotation_sources=rotation_sources,
        rest_m=rest,
    )


def joint_map(source: Skeleton, target: Skeleton) -> np.ndarray:
    """Weights that give the target's joints from the source's.

    Returns:
        [K_target, J_source], rows sum to 1. A joint that the source cannot express is a row of NaN.
    """
    weights = np.full((target.num_joints, source.num_joints), np.nan)
    if source.superset != target.superset:
        return weights
    single = {int(np.argmax(row)): k for k, row in enumerate(source.points) if np.max(row) == 1}
    for k, row in enumerate(target.points):
        same = [j for j, own in enumerate(source.points) if np.allclose(own, row)]
        needed = np.flatnonzero(row)
        if same:
            weights[k] = np.eye(source.num_joints)[same[0]]
        elif all(int(joint) in single for joint in needed):
            weights[k] = 0
            weights[k, [single[int(joint)] for joint in needed]] = row[needed]
    return weights


def rotation_map(source: Skeleton, target: Skeleton) -> tuple[int, ...]:
    """For each joint of the target the source's joint whose global rotation it carries.

    Raises:
        ValueError: `source` is not the superset of `target` (only supersets store rotations).
    """
    if target.superset != source.name:
        raise ValueError(f"rotations of {target.name} come from {target.superset}, not from {source.name}")
    return target.rotation_sources
