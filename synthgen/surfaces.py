"""All surfaces of one frame as triangles, and what engines without Blender read from them where a pixel sees one.

An engine finds the triangle that each pixel's centre sees, by rays or by a rasteriser; depth, instances, parts and
normals follow here from the exact geometry. Depths are planar, in metres.
"""

from dataclasses import dataclass

import numpy as np

from posecore.camera import Camera, unproject
from synthgen.rays import split_quads
from synthgen.renderer import Passes
from synthgen.scene import Material
from synthgen.stage import Stage
from synthgen.subjects.mesh import vertex_normals


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Everything in a frame.

    Attributes:
        vertices, rest, normals: [V, 3] float32: world, at rest (where patterns are laid out), and unit vertex normals,
            the last zero where faces are flat.
        triangles: [T, 3] int32.
        instances, parts: [T] uint8, as in `Passes`. material: [T] int32, index into `materials`.
        uv: [T, 3, 2] float32 texture coordinates of the corners, zero where there are none.
        materials: of all parts and things.
    """

    vertices: np.ndarray
    rest: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    instances: np.ndarray
    parts: np.ndarray
    material: np.ndarray
    uv: np.ndarray
    materials: tuple[Material, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """What N pixels see.

    Attributes:
        triangle: [N] int32, -1 for none. depth_m: [N] float32, infinite for none. weights: [N, 3] float32 barycentric.
        directions: [N, 3] float32 world, of planar depth 1.
    """

    triangle: np.ndarray
    depth_m: np.ndarray
    weights: np.ndarray
    directions: np.ndarray


def gather_surfaces(stage: Stage, frame: int) -> Surfaces:
    """All subjects and things of a frame in one set of triangles, subjects first."""
    vertices, rest, normals, triangles, instances, parts, material, uv, materials = ([] for _ in range(9))
    first = 0
    for number, (subject, spec) in enumerate(zip(stage.subjects[frame], stage.spec.subjects, strict=True), start=1):
        corners, face_of = split_quads(subject.faces)
        vertices.append(subject.vertices)
        rest.append(subject.rest)
        normals.append(vertex_normals(subject.vertices, subject.faces))
        triangles.append(corners + first)
        instances.append(np.full(len(corners), number))
        parts.append(subject.face_parts[face_of] + 1)
        material.append(subject.face_parts[face_of] + len(materials))
        uv.append(_corner_uv(subject.uv, len(subject.faces), face_of))
        materials += [spec.materials[part] for part in subject.part_names]
        first += len(subject.vertices)
    for thing in stage.things:
        corners, face_of = split_quads(thing.faces)
        vertices.append(thing.vertices)
        rest.append(thing.vertices)
        normals.append(vertex_normals(thing.vertices, thing.faces) if thing.smooth else np.zeros_like(thing.vertices))
        triangles.append(corners + first)
        instances.append(np.zeros(len(corners)))
        parts.append(np.zeros(len(corners)))
        material.append(np.full(len(corners), len(materials)))
        uv.append(np.zeros((len(corners), 3, 2)))
        materials.append(thing.material)
        first += len(thing.vertices)
    return Surfaces(
        vertices=np.concatenate(vertices).astype(np.float32),
        rest=np.concatenate(rest).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        triangles=np.concatenate(triangles).astype(np.int32),
        instances=np.concatenate(instances).astype(np.uint8),
        parts=np.concatenate(parts).astype(np.uint8),
        material=np.concatenate(material).astype(np.int32),
        uv=np.concatenate(uv).astype(np.float32),
        materials=tuple(materials),
    )


def pixel_directions(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """World directions [..., 3] float32 of planar depth 1 through pixels [..., 2]."""
    directions = unproject(camera.K, pixels, np.ones(pixels.shape[:-1])) @ camera.cam_from_world[:3, :3]
    return directions.astype(np.float32)


def pixel_centres(camera: Camera) -> np.ndarray:
    """[H, W, 2] pixel coordinates."""
    row, column = np.mgrid[: camera.height, : camera.width]
    return np.stack([column, row], axis=-1) + 0.5


def shading_normals(surfaces: Surfaces, seen: Seen) -> np.ndarray:
    """[N, 3] float32 unit normals towards the camera, smooth where the surface is; zero where nothing is seen."""
    corners = surfaces.triangles[seen.triangle]
    smooth = np.einsum("nk,nkc->nc", seen.weights, surfaces.normals[corners])
    a, b, c = (surfaces.vertices[corners[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    normals = np.where((smooth * smooth).sum(axis=1, keepdims=True) > 1e-6, smooth, flat)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    away = np.einsum("nc,nc->n", normals, seen.directions) > 0
    return np.where(away[:, None], -normals, normals) * (seen.triangle >= 0)[:, None]


def to_passes(surfaces: Surfaces, seen: Seen, normals: np.ndarray, radiance: np.ndarray) -> Passes:
    """The passes of a view whose every pixel's centre was seen, row by row.

    Args:
        normals: [H W, 3]. radiance: [H, W, 3].
    """
    hit, size = seen.triangle >= 0, radiance.shape[:2]
    return Passes(
        radiance=radiance.astype(np.float32),
        instances=np.where(hit, surfaces.instances[seen.triangle], 0).astype(np.uint8).reshape(size),
        depth_m=seen.depth_m.astype(np.float32).reshape(size),
        parts=np.where(hit, surfaces.parts[seen.triangle], 0).astype(np.uint8).reshape(size),
        normals=normals.astype(np.float32).reshape(*size, 3),
    )


def _corner_uv(uv: np.ndarray | None, num_faces: int, face_of: np.ndarray) -> np.ndarray:
    """Texture coordinates [T, 3, 2] of triangles, as `split_quads` orders them; zeros if there are none."""
    if uv is None:
        return np.zeros((len(face_of), 3, 2), np.float32)
    return np.concatenate([uv[:, :3], uv[face_of[num_faces:]][:, [0, 2, 3]]])
