"""All surfaces of one frame as triangles, and what engines without Blender read from them where a pixel sees one.

An engine finds the triangle that each pixel's centre sees, by rays or by a rasteriser; depth, instances, parts and
normals follow here from the exact geometry. Depths are planar, in metres.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from posecore.camera import Camera, unproject
from synthgen.engines.environment import sample_bilinear
from synthgen.rays import RayMesh, split_quads
from synthgen.renderer import Passes
from synthgen.scene import Material
from synthgen.stage import Stage
from synthgen.subjects.mesh import vertex_normals


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Everything in a frame.

    Attributes:
        vertices: [V, 3] float32 world. triangles: [T, 3] int32.
        corners, place, normals: [T, 3, 3] float32, for the corners of each triangle: world, in the material (where
            patterns are laid out), and unit normals, all alike where faces are flat.
        tint: [T, 3, 3] float32, factors on the linear colours at the corners.
        instances, parts: [T] uint8, as in `Passes`. material: [T] int32, index into `materials`.
        uv: [T, 3, 2] float32 texture coordinates of the corners, zero where there are none.
        painting_uv: [T, 3, 2] float32 the same in the painting of the triangle's instance.
        paintings: of each instance, or None; the picture of a `Painting`.
        materials: of all parts and things.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    corners: np.ndarray
    place: np.ndarray
    tint: np.ndarray
    normals: np.ndarray
    instances: np.ndarray
    parts: np.ndarray
    material: np.ndarray
    uv: np.ndarray
    painting_uv: np.ndarray
    paintings: tuple[np.ndarray | None, ...]
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
    meshes = [*stage.subjects[frame], *stage.things]
    fixed = _fixed(stage)
    vertices = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
    corners = vertices[fixed.triangles]
    is_smooth = [*(True for _ in stage.subjects[frame]), *(thing.smooth for thing in stage.things)]
    by_vertex = [
        vertex_normals(mesh.vertices, mesh.faces) if smooth else np.zeros(mesh.vertices.shape, np.float32)
        for mesh, smooth in zip(meshes, is_smooth, strict=True)
    ]
    normals = np.concatenate(by_vertex)[fixed.triangles]
    flat = np.flatnonzero(~np.repeat(is_smooth, fixed.counts))
    a, b, c = corners[flat].transpose(1, 0, 2)
    normals[flat] = _unit(np.cross(b - a, c - a))[:, None]
    return Surfaces(
        vertices=vertices,
        triangles=fixed.triangles,
        corners=corners,
        place=fixed.place,
        tint=fixed.tint,
        normals=normals,
        instances=fixed.instances,
        parts=fixed.parts,
        material=fixed.material,
        uv=fixed.uv,
        painting_uv=fixed.painting_uv,
        paintings=fixed.paintings,
        materials=fixed.materials,
    )


def pixel_directions(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """World directions [..., 3] float32 of planar depth 1 through pixels [..., 2]."""
    directions = unproject(camera.K, pixels, np.ones(pixels.shape[:-1])) @ camera.cam_from_world[:3, :3]
    return directions.astype(np.float32)


def pixel_centres(camera: Camera) -> np.ndarray:
    """[H, W, 2] pixel coordinates."""
    row, column = np.mgrid[: camera.height, : camera.width]
    return np.stack([column, row], axis=-1) + 0.5


def cast(surfaces: Surfaces, camera: Camera) -> Seen:
    """What the pixels' centres see, row by row, by rays."""
    directions = pixel_directions(camera, pixel_centres(camera)).reshape(-1, 3)
    hits = RayMesh(surfaces.vertices, surfaces.triangles).first_hits(camera.position_world, directions)
    return Seen(hits.triangle, hits.distance, hits.weights, directions)


def shading_normals(surfaces: Surfaces, seen: Seen) -> np.ndarray:
    """[N, 3] float32 unit normals towards the camera, smooth where the surface is; zero where nothing is seen."""
    normals = _unit(blend(surfaces.normals[seen.triangle], seen.weights))
    away = np.einsum("nc,nc->n", normals, seen.directions) > 0
    return normals * np.where(seen.triangle < 0, 0, np.where(away, -1, 1)).astype(np.float32)[:, None]


def blend(corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values [N, C] within triangles, from those of the corners [N, 3, C] and barycentric weights [N, 3]."""
    return np.einsum("nk,nkc->nc", weights, corners)


def painted_tint(surfaces: Surfaces, seen: Seen) -> np.ndarray:
    """[N, 3] float32 factors on the linear colours of the materials: tint and painting."""
    tint = blend(surfaces.tint[seen.triangle], seen.weights)
    instances = surfaces.instances[seen.triangle] * (seen.triangle >= 0)
    for number, image in enumerate(surfaces.paintings, start=1):
        at = np.flatnonzero(instances == number)
        if image is not None and len(at):
            uv = blend(surfaces.painting_uv[seen.triangle[at]], seen.weights[at])
            tint[at] *= sample_texture(image, uv)
    return tint


def sample_texture(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Values [N, C] float32 of a picture [H, W, C] at coordinates [N, 2], (0, 0) at the bottom left."""
    height, width = image.shape[:2]
    return sample_bilinear(image, uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5)


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


@dataclass(frozen=True, eq=False)
class _Fixed:
    """What all frames of a stage share; see Surfaces. counts: triangles of each subject and thing."""

    triangles: np.ndarray
    place: np.ndarray
    tint: np.ndarray
    instances: np.ndarray
    parts: np.ndarray
    material: np.ndarray
    uv: np.ndarray
    painting_uv: np.ndarray
    paintings: tuple[np.ndarray | None, ...]
    materials: tuple[Material, ...]
    counts: np.ndarray


@lru_cache(maxsize=1)
def _fixed(stage: Stage) -> _Fixed:
    subjects = stage.subjects[0]
    split = [split_quads(mesh.faces) for mesh in (*subjects, *stage.things)]
    counts = np.array([len(triangles) for triangles, _ in split])
    firsts = np.cumsum([0, *(len(mesh.vertices) for mesh in (*subjects, *stage.things))])
    triangles = np.concatenate([corners + first for (corners, _), first in zip(split, firsts[:-1], strict=True)])
    place = [subject.rest if subject.place is None else subject.place for subject in subjects]
    place += [thing.vertices if thing.place is None else thing.place for thing in stage.things]
    tint = [np.ones_like(subject.rest) if subject.tint is None else subject.tint for subject in subjects]
    tint += [np.ones_like(thing.vertices) for thing in stage.things]
    parts, material, uv, painting_uv, materials = [], [], [], [], []
    for subject, spec, (_, face_of) in zip(subjects, stage.spec.subjects, split[: len(subjects)], strict=True):
        parts.append(subject.face_parts[face_of] + 1)
        material.append(subject.face_parts[face_of].astype(np.int32) + len(materials))
        uv.append(_corner_uv(subject.uv, len(subject.faces), face_of))
        painted = None if subject.painting is None else subject.painting.uv
        painting_uv.append(_corner_uv(painted, len(subject.faces), face_of))
        materials += [spec.materials[part] for part in subject.part_names]
    num_things = counts[len(subjects) :]
    no_uv = np.zeros((num_things.sum(), 3, 2))
    return _Fixed(
        triangles=triangles.astype(np.int32),
        place=np.concatenate(place).astype(np.float32)[triangles],
        tint=np.concatenate(tint).astype(np.float32)[triangles],
        instances=np.repeat([*range(1, len(subjects) + 1), *np.zeros(len(num_things))], counts).astype(np.uint8),
        parts=np.concatenate([*parts, np.zeros(num_things.sum())]).astype(np.uint8),
        material=np.concatenate([*material, np.repeat(len(materials) + np.arange(len(num_things)), num_things)]),
        uv=np.concatenate([*uv, no_uv]).astype(np.float32),
        painting_uv=np.concatenate([*painting_uv, no_uv]).astype(np.float32),
        paintings=tuple(None if subject.painting is None else subject.painting.image for subject in subjects),
        materials=(*materials, *(thing.material for thing in stage.things)),
        counts=counts,
    )


def _corner_uv(uv: np.ndarray | None, num_faces: int, face_of: np.ndarray) -> np.ndarray:
    """Texture coordinates [T, 3, 2] of triangles, as `split_quads` orders them; zeros if there are none."""
    if uv is None:
        return np.zeros((len(face_of), 3, 2), np.float32)
    return np.concatenate([uv[:, :3], uv[face_of[num_faces:]][:, [0, 2, 3]]])


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [N, 3] at length 1; without length they stay zero."""
    return vectors / np.sqrt(np.maximum(np.einsum("nc,nc->n", vectors, vectors), 1e-20))[:, None]
