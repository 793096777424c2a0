"""All surfaces of one frame as triangles, and what engines without Blender read from them where a pixel sees one.

An engine finds the triangle that each pixel's centre sees, by rays or by a rasteriser; depth, instances, parts and
normals follow from the exact geometry. Depths are planar, in metres.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from posecore.camera import Camera, unproject
from synthgen.rays import RayMesh, split_quads
from synthgen.renderer import Passes
from synthgen.scene import Material
from synthgen.stage import Stage
from synthgen.subjects.mesh import vertex_normals

_REMAP_ROWS = 256  # cv2 refuses results of more than 32,767 columns


@dataclass(frozen=True, eq=False)
class Covering:
    """What all frames of a stage share: how vertices make triangles, and what covers these.

    Attributes:
        triangles: [T, 3] int32; first those of the subjects' own bodies, then all else.
        num_of_bodies: how many of them are the bodies'. Nobody sees these from within, but through something else.
        place, tint: [V, 3] float32 of the vertices: where they lie in the material (where patterns are laid out), and
            factors on its linear colour.
        instances, parts: [T] uint8, as in `Passes`. material: [T] int32, index into `materials`.
        uv: [T, 3, 2] float32 texture coordinates of the corners, zero where there are none.
        painting_uv: [T, 3, 2] float32 the same in the painting of the triangle's material.
        materials: of all parts and things; none is shared between two of them.
        flat: [M] bool: of each material, whether its faces are.
        paintings: of each material, or None; the picture of a `Painting`.
        thing_vertices, thing_normals: [N, 3] float32 world, of the things, whose vertices come last.
    """

    triangles: np.ndarray
    num_of_bodies: int
    place: np.ndarray
    tint: np.ndarray
    instances: np.ndarray
    parts: np.ndarray
    material: np.ndarray
    uv: np.ndarray
    painting_uv: np.ndarray
    materials: tuple[Material, ...]
    flat: np.ndarray
    paintings: tuple[np.ndarray | None, ...]
    thing_vertices: np.ndarray
    thing_normals: np.ndarray


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Everything in a frame: its covering, and vertices [V, 3] and unit normals [V, 3] float32, world."""

    covering: Covering
    vertices: np.ndarray
    normals: np.ndarray


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
    """All subjects and things of a frame in one set of triangles."""
    covering, subjects = _cover(stage), stage.subjects[frame]
    return Surfaces(
        covering=covering,
        vertices=np.concatenate([*(s.vertices for s in subjects), covering.thing_vertices], dtype=np.float32),
        normals=np.concatenate(
            [*(vertex_normals(s.vertices, s.faces) for s in subjects), covering.thing_normals], dtype=np.float32
        ),
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
    mesh = RayMesh(surfaces.vertices, surfaces.covering.triangles)
    hits = mesh.first_hits(camera.position_world, directions)
    return Seen(hits.triangle, hits.distance, hits.weights, directions)


def shading_normals(surfaces: Surfaces, seen: Seen) -> np.ndarray:
    """[N, 3] float32 unit normals towards the camera, smooth where the surface is; zero where nothing is seen."""
    covering = surfaces.covering
    corners = covering.triangles[seen.triangle]
    normals = _blend(surfaces.normals[corners], seen.weights)
    flat = covering.flat[covering.material[seen.triangle]]
    a, b, c = surfaces.vertices[corners[flat]].transpose(1, 0, 2)
    normals[flat] = np.cross(b - a, c - a)
    length = np.sqrt(np.maximum(np.einsum("nc,nc->n", normals, normals), 1e-20))
    towards = np.where(np.einsum("nc,nc->n", normals, seen.directions) > 0, -1, 1)
    return normals * (np.where(seen.triangle < 0, 0, towards) / length).astype(np.float32)[:, None]


def painted_tint(covering: Covering, seen: Seen) -> np.ndarray:
    """[N, 3] float32 factors on the linear colours of the materials: tint and painting."""
    tint = _blend(covering.tint[covering.triangles[seen.triangle]], seen.weights)
    material_of = np.where(seen.triangle >= 0, covering.material[seen.triangle], -1)
    for number, painting in enumerate(covering.paintings):
        at = np.flatnonzero(material_of == number)
        if painting is not None and len(at):
            uv = _blend(covering.painting_uv[seen.triangle[at]], seen.weights[at])
            tint[at] *= sample_texture(painting, uv)
    return tint


def sample_texture(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Values [N, C] float32 of a picture [H, W, C], tiled, at coordinates [N, 2], (0, 0) at the bottom left."""
    height, width = image.shape[:2]
    wide = max(1, -(-len(uv) // _REMAP_ROWS))
    places = np.zeros((2, _REMAP_ROWS * wide), dtype=np.float32)
    places[:, : len(uv)] = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    grid = places.reshape(2, _REMAP_ROWS, wide)
    return cv2.remap(image, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).reshape(-1, image.shape[2])[: len(uv)]


def to_passes(
    covering: Covering, triangle: np.ndarray, depth_m: np.ndarray, normals: np.ndarray, radiance: np.ndarray
) -> Passes:
    """The passes of a view.

    Args:
        triangle: [H W] that each pixel's centre sees, -1 for none. depth_m: [H W]. normals: [H W, 3].
        radiance: [H, W, 3].
    """
    hit, size = triangle >= 0, radiance.shape[:2]
    return Passes(
        radiance=radiance.astype(np.float32),
        instances=np.where(hit, covering.instances[triangle], 0).astype(np.uint8).reshape(size),
        depth_m=np.where(hit, depth_m, np.inf).astype(np.float32).reshape(size),
        parts=np.where(hit, covering.parts[triangle], 0).astype(np.uint8).reshape(size),
        normals=normals.astype(np.float32).reshape(*size, 3),
    )


@lru_cache(maxsize=1)
def _cover(stage: Stage) -> Covering:
    subjects, things = stage.subjects[0], stage.things
    split = [split_quads(mesh.faces) for mesh in (*subjects, *things)]
    counts = np.array([len(triangles) for triangles, _ in split])
    firsts = np.cumsum([0, *(len(mesh.vertices) for mesh in (*subjects, *things))])
    triangles = np.concatenate([corners + first for (corners, _), first in zip(split, firsts[:-1], strict=True)])
    place = [subject.rest if subject.place is None else subject.place for subject in subjects]
    place += [thing.vertices if thing.place is None else thing.place for thing in things]
    tint = [np.ones_like(subject.rest) if subject.tint is None else subject.tint for subject in subjects]
    tint += [np.ones_like(thing.vertices) for thing in things]
    parts, material, uv, painting_uv, materials, paintings = [], [], [], [], [], []
    for subject, spec, (_, face_of) in zip(subjects, stage.spec.subjects, split[: len(subjects)], strict=True):
        parts.append(subject.face_parts[face_of] + 1)
        material.append(subject.face_parts[face_of].astype(np.int32) + len(materials))
        uv.append(_corner_uv(subject.uv, len(subject.faces), face_of))
        image, painted = (None, None) if subject.painting is None else (subject.painting.image, subject.painting.uv)
        painting_uv.append(_corner_uv(painted, len(subject.faces), face_of))
        materials += [spec.materials[part] for part in subject.part_names]
        paintings += [image] * len(subject.part_names)
    num_things = counts[len(subjects) :]
    instances = np.repeat([*range(1, len(subjects) + 1), *np.zeros(len(num_things))], counts).astype(np.uint8)
    parts = np.concatenate([*parts, np.zeros(num_things.sum())]).astype(np.uint8)
    material.append(np.repeat(len(materials) + np.arange(len(num_things)), num_things))
    order = np.argsort(parts != 1, kind="stable")
    no_uv = np.zeros((num_things.sum(), 3, 2))
    nothing = np.zeros((0, 3))
    return Covering(
        triangles=triangles[order].astype(np.int32),
        num_of_bodies=np.count_nonzero(parts == 1),
        place=np.concatenate(place).astype(np.float32),
        tint=np.concatenate(tint).astype(np.float32),
        instances=instances[order],
        parts=parts[order],
        material=np.concatenate(material)[order].astype(np.int32),
        uv=np.concatenate([*uv, no_uv])[order].astype(np.float32),
        painting_uv=np.concatenate([*painting_uv, no_uv])[order].astype(np.float32),
        materials=(*materials, *(thing.material for thing in things)),
        flat=np.array([*(False for _ in materials), *(not thing.smooth for thing in things)]),
        paintings=(*paintings, *(None for _ in things)),
        thing_vertices=np.concatenate([nothing, *(thing.vertices for thing in things)]).astype(np.float32),
        thing_normals=np.concatenate([nothing, *(vertex_normals(thing.vertices, thing.faces) for thing in things)]),
    )


def _corner_uv(uv: np.ndarray | None, num_faces: int, face_of: np.ndarray) -> np.ndarray:
    """Texture coordinates [T, 3, 2] of triangles, as `split_quads` orders them; zeros if there are none."""
    if uv is None:
        return np.zeros((len(face_of), 3, 2), np.float32)
    return np.concatenate([uv[:, :3], uv[face_of[num_faces:]][:, [0, 2, 3]]])


def _blend(corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values [N, C] within triangles, from those of the corners [N, 3, C] and barycentric weights [N, 3]."""
    return np.einsum("nk,nkc->nc", weights, corners)
