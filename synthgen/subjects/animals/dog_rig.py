"""Read the rigged dog that the `dm-control` package carries: skin, skeleton and joint limits.

Conventions: the files have x forward, y left, z up; everything here is returned with the animal facing -y, its left
at +x, z up, metres. The dog is Apache-2.0 (dm_control/suite/dog.xml and dog_assets/dog_skin.skn).
"""

import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# x forward, y left -> -y forward, +x left.
_OURS_FROM_FILE = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
# Where dog.xml puts the eyes (its iris ellipsoids), from the skull, and how far they look outwards.
_IRIS_FROM_SKULL = (0.023, 0.027, 0.01)


@dataclass(frozen=True)
class RigJoint:
    """One hinge of the rig: turning `bone` about `axis` (unit, world axes at rest) by low_deg..high_deg."""

    name: str
    bone: int
    axis: tuple[float, float, float]
    low_deg: float
    high_deg: float


@dataclass(frozen=True, eq=False)
class DogRig:
    """The dog at rest, standing.

    Attributes:
        vertices: [V,3] float32, m; weights: [V,B] float32 skinning weights, rows sum to 1.
        faces: [F,4] int32, triangles with the last index repeated; uv: [F,4,2] float32, (0, 0) bottom left.
        bone_names, bone_parents: [B], parents first, -1 the root.
        pivots: [B,3] the points that bones turn about, m.
        joints: hinges, in the order in which each bone applies them.
        iris_m: [2,3] left and right iris, m.
    """

    vertices: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    bone_names: tuple[str, ...]
    bone_parents: tuple[int, ...]
    pivots: np.ndarray
    joints: tuple[RigJoint, ...]
    iris_m: np.ndarray


def read_dog(folder: Path) -> DogRig:
    """Read dog.xml and dog_assets/dog_skin.skn.

    Args:
        folder: `dm_control/suite` of the unpacked dm-control==1.0.50 wheel.

    Raises:
        ValueError: a file is missing or is not what dm-control 1.0.50 has.
    """
    folder = Path(folder)
    xml, skn = folder / "dog.xml", folder / "dog_assets" / "dog_skin.skn"
    for file in (xml, skn):
        if not file.is_file():
            raise ValueError(f"no {file}: pass dm_control/suite of the unpacked dm-control==1.0.50 wheel")
    names, parents, pivots, joints, skull_m = _read_bones(xml)
    positions, texture, triangles, skin_weights = _read_skin(skn)
    # The skin repeats vertices along texture seams; welded, normals are smooth across them.
    _, first, welded = np.unique(np.round(positions, 6), axis=0, return_index=True, return_inverse=True)
    welded = welded.reshape(-1)
    weights = np.zeros((len(first), len(names)))
    for bone, (vertices, values) in skin_weights.items():
        if bone not in names:
            raise ValueError(f"{skn}: bone {bone!r} is not in {xml.name}")
        weights[welded[vertices], names.index(bone)] = values
    corners = triangles[:, [0, 1, 2, 2]]
    iris = [skull_m + np.array(_IRIS_FROM_SKULL) * [1, side, 1] for side in (1, -1)]
    return DogRig(
        vertices=(positions[first] @ _OURS_FROM_FILE.T).astype(np.float32),
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        faces=welded[corners].astype(np.int32),
        uv=np.stack([texture[corners][..., 0], 1 - texture[corners][..., 1]], -1).astype(np.float32),
        bone_names=tuple(names),
        bone_parents=tuple(parents),
        pivots=np.array(pivots) @ _OURS_FROM_FILE.T,
        joints=tuple(joints),
        iris_m=np.array(iris) @ _OURS_FROM_FILE.T,
    )


def _read_skin(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Vertices, texture coordinates, triangles and each bone's vertices and weights (MuJoCo's binary skin format)."""
    data = file.read_bytes()
    num_vertices, num_texture, num_faces, num_bones = struct.unpack_from("<4i", data, 0)
    at = 16

    def take(kind: str, count: int) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(data, kind, count, at)
        at += values.nbytes
        return values

    positions = take("<f4", num_vertices * 3).reshape(-1, 3).astype(np.float64)
    texture = take("<f4", num_texture * 2).reshape(-1, 2)
    triangles = take("<i4", num_faces * 3).reshape(-1, 3)
    weights = {}
    for _ in range(num_bones):
        name = take("S40", 1)[0].decode()
        take("<f4", 7)  # bind position and quaternion: dog.xml has them too, unrotated
        count = int(take("<i4", 1)[0])
        weights[name] = (take("<i4", count), take("<f4", count))
    if at != len(data):
        raise ValueError(f"{file}: {len(data) - at} bytes too many; this reads the skin of dm-control==1.0.50")
    return positions, texture, triangles, weights


def _read_bones(xml: Path) -> tuple[list[str], list[int], list[np.ndarray], list[RigJoint], np.ndarray]:
    """Bones with the points they turn about (their joints' mean position), hinges, and the skull's origin."""
    root = ElementTree.parse(xml).getroot()
    defaults = _joint_defaults(root.find("default"), {}, {})
    names: list[str] = []
    parents: list[int] = []
    pivots: list[np.ndarray] = []
    joints: list[RigJoint] = []
    origins: dict[str, np.ndarray] = {}

    def visit(bodies: list[ElementTree.Element], parent: int, origin: np.ndarray) -> None:
        for body in bodies:
            own = origin + _numbers(body.get("pos", "0 0 0"))
            bone = len(names)
            names.append(body.get("name"))
            parents.append(parent)
            origins[body.get("name")] = own
            hinges = [defaults[j.get("class")] | j.attrib for j in body.findall("joint") if j.get("class")]
            offsets = [_numbers(hinge.get("pos", "0 0 0")) for hinge in hinges]
            pivots.append(own + (np.mean(offsets, axis=0) if offsets else 0))
            for hinge in hinges:
                axis = _OURS_FROM_FILE @ _numbers(hinge["axis"])
                low, high = _numbers(hinge["range"])
                joints.append(RigJoint(hinge["name"], bone, tuple(axis / np.linalg.norm(axis)), low, high))
            visit(body.findall("body"), bone, own)

    visit([root.find("worldbody/body[@name='torso']")], -1, np.zeros(3))
    return names, parents, pivots, joints, origins["skull"]


def _joint_defaults(element: ElementTree.Element, inherited: dict, found: dict) -> dict[str, dict]:
    """Joint attributes of every default class, with what nested classes inherit."""
    joint = element.find("joint")
    own = inherited | (joint.attrib if joint is not None else {})
    if element.get("class"):
        found[element.get("class")] = own
    for child in element.findall("default"):
        _joint_defaults(child, own, found)
    return found


def _numbers(text: str) -> np.ndarray:
    return np.array([float(value) for value in text.split()])
