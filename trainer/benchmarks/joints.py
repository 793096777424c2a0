"""Which of a benchmark's joints is which of ours, and what of it a given model can answer.

A joint's partner is one joint of a stored skeleton (`human`, `quadruped`) or the middle of several; a joint without
partner is not judged. A model knows a derived skeleton (`h36m17`, ...) and may lack further partners: those joints are
not judged either. Both are named in the result, so that a mean over fewer joints than published is seen to be one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from posecore.errors import UserError
from posecore.skeleton import Skeleton, joint_map, load_skeleton, mirror_name

Partners = Mapping[str, str | Sequence[str] | None]
"""A dataset's name of a joint -> our joint, several of which it is the middle, or None."""


@dataclass(frozen=True)
class JointTable:
    """The joints of a benchmark, in its own order.

    Attributes:
        superset: the stored skeleton that partners are joints of.
        names: as the dataset calls them. partners: for each the joints whose middle it is; () for none.
        root: the name of the joint that 3D is relative to; None for the first one.
    """

    superset: str
    names: tuple[str, ...]
    partners: tuple[tuple[str, ...], ...]
    root: str | None = None

    def index(self, names: Sequence[str]) -> list[int]:
        return [self.names.index(name) for name in names]


@dataclass(frozen=True, eq=False)
class JudgedJoints:
    """The J joints of a benchmark that a model can answer, out of all that the benchmark has.

    Attributes:
        names: the dataset's. columns: [J] their places in its own order. weights: [J, K] from the model's joints.
        skeleton: the same joints for the metrics: sides, sigmas, the root.
        has_root: whether 3D can be made relative to the dataset's own root.
        without_partner: joints of the dataset that are none of ours. unknown_to_model: those whose partner the model
            was not trained on.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    weights: np.ndarray
    skeleton: Skeleton
    has_root: bool
    without_partner: tuple[str, ...]
    unknown_to_model: tuple[str, ...]


def joint_table(superset: str, partners: Partners, root: str | None = None) -> JointTable:
    """A table from a mapping in the dataset's order."""
    lists = tuple(() if p is None else (p,) if isinstance(p, str) else tuple(p) for p in partners.values())
    return JointTable(superset, tuple(partners), lists, root)


def skeleton_table(name: str, root: str | None = None) -> JointTable:
    """The table of a benchmark whose joints are those of one of our derived skeletons."""
    skeleton = load_skeleton(name)
    superset = load_skeleton(skeleton.superset)
    partners = tuple(tuple(superset.joints[j] for j in np.flatnonzero(row)) for row in skeleton.points)
    return JointTable(skeleton.superset, skeleton.joints, partners, root)


def judged_joints(table: JointTable, model: Skeleton, name: str) -> JudgedJoints:
    """What a model of skeleton `model` can answer.

    Args:
        name: of the benchmark, for the skeleton that results.

    Raises:
        UserError: the model can answer none of them.
    """
    wanted = [row for row, partners in enumerate(table.partners) if partners]
    whole = _skeleton(name, table, wanted)
    weights = joint_map(model, whole)
    is_known = np.isfinite(weights).all(1)
    columns = [row for row, known in zip(wanted, is_known, strict=True) if known]
    if not columns:
        raise UserError(f"{name}: none of its joints is one that the model's skeleton {model.name} has")
    return JudgedJoints(
        names=tuple(table.names[row] for row in columns),
        columns=np.array(columns),
        weights=weights[is_known],
        skeleton=_skeleton(name, table, columns),
        has_root=(table.names.index(table.root) if table.root else 0) in columns,
        without_partner=tuple(n for n, p in zip(table.names, table.partners, strict=True) if not p),
        unknown_to_model=tuple(table.names[row] for row, known in zip(wanted, is_known, strict=True) if not known),
    )


def read_joint_map(path: Path) -> dict[str, tuple[str, ...]]:
    """A user's map, YAML: their name -> our joint, a list of joints whose middle it is, or null.

    Raises:
        UserError: no such file, or not such a mapping.
    """
    form = "write `their_name: our_joint`, a list of joints, or null for a joint that is not to be judged"
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as a joint map ({' '.join(str(error).split())}); {form}") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: a joint map is a mapping, got {content!r}; {form}")
    result = {}
    for theirs, ours in content.items():
        names = [] if ours is None else [ours] if isinstance(ours, str) else ours
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: {theirs}: got {ours!r}; {form}")
        result[str(theirs)] = tuple(names)
    return result


def mapped_table(
    names: Sequence[str],
    superset: str,
    given: Mapping[str, tuple[str, ...]],
    source: str,
    default: JointTable | None = None,
) -> JointTable:
    """The joints that data bring with names of their own.

    A name takes its partner from the user's map, else from the default, else is a joint of ours itself.

    Args:
        names: in the order of the data. given: the user's map. source: of the names, for errors.

    Raises:
        UserError: names without partner, unknown joints of ours, or entries of the map that name nothing.
    """
    ours = load_skeleton(superset).joints
    known = dict(zip(default.names, default.partners, strict=True)) if default else {}
    known |= {name: (name,) for name in names if name in ours and name not in known}
    known |= given
    if stray := [name for name in given if name not in names]:
        raise UserError(f"--joint-map: {source} has no {', '.join(stray)}; it has {', '.join(names)}")
    if unmapped := [name for name in names if name not in known]:
        raise UserError(
            f"{source}: {', '.join(unmapped)}: no joint of {superset} is called so; say with --joint-map FILE which "
            f"each is, or null (ours: {', '.join(ours)})"
        )
    for name, partners in known.items():
        for partner in partners:
            if partner not in ours:
                near = difflib.get_close_matches(partner, ours, 1)
                hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(ours)}"
                raise UserError(f"--joint-map: {name}: {superset} has no joint {partner!r}; {hint}")
    return JointTable(superset, tuple(names), tuple(known[name] for name in names), default.root if default else None)


def _skeleton(name: str, table: JointTable, rows: Sequence[int]) -> Skeleton:
    """Some of a benchmark's joints as a skeleton of which only joints, sides, sigmas, points and the root mean
    anything."""
    superset = load_skeleton(table.superset)
    points = np.zeros((len(rows), superset.num_joints))
    for place, row in enumerate(rows):
        partners = [superset.index(partner) for partner in table.partners[row]]
        points[place, partners] = 1 / len(partners)
    root_row = table.names.index(table.root) if table.root else 0
    root = rows.index(root_row) if root_row in rows else 0
    return Skeleton(
        name=name,
        joints=_sided_names([table.names[row] for row in rows], [table.partners[row] for row in rows]),
        parents=tuple(-1 if place == root else root for place in range(len(rows))),
        edges=(),
        parts=(),
        groups={},
        sigmas=tuple((points @ np.array(superset.sigmas)).tolist()),
        superset=superset.name,
        points=points,
        rotation_sources=(),
        rest_m=points @ superset.rest_m,
    )


def _sided_names(theirs: Sequence[str], partners: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """A name for each joint from which its side follows as everywhere: left_x mirrors right_x.

    The first joint of a partner bears its name, others a number; a middle is called by its ends if these lie on one
    side, else as the dataset calls it. A joint whose mirror image is not among them has no side.
    """
    names: list[str] = []
    for own, joints in zip(theirs, partners, strict=True):
        side = next((s for s in ("left", "right") if all(joint.startswith(f"{s}_") for joint in joints)), None)
        if len(joints) == 1:
            name = joints[0]
        elif side is not None:
            name = f"{side}_middle_of_" + "_".join(sorted(joint.removeprefix(f"{side}_") for joint in joints))
        else:
            name = own if mirror_name(own) == own else f"middle_of_{own}"
        number = 1 + sum(other == name or other.startswith(f"{name}__") for other in names)
        names.append(name if number == 1 else f"{name}__{number}")
    return tuple(name if mirror_name(name) in names else f"only_{name}" for name in names)
