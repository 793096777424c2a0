"""The `painter` engine: flat-shaded pictures without Blender, from the same stage and with the same labels.

For tests, quick looks at a recipe and machines without bpy. One lamp from above the camera; the world is a plain sky.
"""

import numpy as np

from synthgen.raster import face_normals, paint_faces
from synthgen.renderer import Passes
from synthgen.stage import Stage

_SKY = (0.35, 0.45, 0.6)
_MOST_FLOOR_M = 12.0  # the floor's single huge quad is cut to this size and into tiles, so that depth sorting works
_FLOOR_TILES = 16


class PainterRenderer:
    """Renders stages by painting faces from far to near; see `Renderer`."""

    name = "painter"
    version = "1"

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def set_stage(self, stage: Stage) -> None:
        self._stage = stage

    def render(self, frame: int, view: int) -> Passes:
        assert self._stage is not None
        stage, camera = self._stage, self._stage.cameras[view]
        vertices, faces, colours, instances, parts = [], [], [], [], []
        first = 0
        for number, (subject, spec) in enumerate(zip(stage.subjects[frame], stage.spec.subjects, strict=True)):
            vertices.append(subject.vertices.astype(np.float64))
            faces.append(subject.faces + first)
            by_part = np.array([spec.materials[part].colours[0] for part in subject.part_names])
            colours.append(by_part[subject.face_parts])
            instances.append(np.full(len(subject.faces), number + 1))
            parts.append(subject.face_parts.astype(int) + 1)
            first += len(subject.vertices)
        for thing in stage.things:
            corners, quads = (
                _tiles(thing.vertices) if thing.name in ("floor", "wall") else (thing.vertices, thing.faces)
            )
            vertices.append(corners)
            faces.append(quads + first)
            colours.append(np.tile(thing.material.colours[0], (len(quads), 1)))
            instances.append(np.zeros(len(quads), dtype=int))
            parts.append(np.zeros(len(quads), dtype=int))
            first += len(corners)
        all_vertices, all_faces = np.concatenate(vertices), np.concatenate(faces)
        # cv2 paints every pixel that a face touches; the middle one of 3 x 3 is right to a sixth of a pixel
        seen = paint_faces(camera, all_vertices, all_faces, oversampling=3)[1::3, 1::3]
        hit = seen >= 0
        normals = face_normals(all_vertices, all_faces)
        towards_lamp = np.array([0.2, -0.3, 1.0]) - camera.cam_from_world[2, :3]
        shade = 0.35 + 0.65 * np.abs(normals @ (towards_lamp / np.linalg.norm(towards_lamp)))
        depth = (all_vertices @ camera.cam_from_world[2, :3] + camera.cam_from_world[2, 3])[all_faces].mean(axis=1)

        def per_pixel(values: np.ndarray, empty: object) -> np.ndarray:
            canvas = np.empty((*seen.shape, *values.shape[1:]), dtype=values.dtype)
            canvas[...] = empty
            canvas[hit] = values[seen[hit]]
            return canvas

        linear = np.concatenate(colours) ** 2.2 * shade[:, None]
        return Passes(
            radiance=per_pixel(linear.astype(np.float32), _SKY),
            instances=per_pixel(np.concatenate(instances).astype(np.uint8), 0),
            depth_m=per_pixel(depth.astype(np.float32), np.inf),
            parts=per_pixel(np.concatenate(parts).astype(np.uint8), 0),
            normals=per_pixel(normals.astype(np.float32), 0),
        )

    def close(self) -> None:
        self._stage = None


def _tiles(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A large quad [4, 3], cut to its middle and divided into tiles."""
    middle = corners.mean(axis=0)
    half_u, half_v = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    reach = [min(1.0, _MOST_FLOOR_M / np.linalg.norm(half)) for half in (half_u, half_v)]
    u, v = np.meshgrid(*(np.linspace(-r, r, _FLOOR_TILES + 1) for r in reach), indexing="ij")
    vertices = middle + u[..., None] * half_u + v[..., None] * half_v
    index = np.arange((_FLOOR_TILES + 1) ** 2).reshape(_FLOOR_TILES + 1, -1)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1)
    return vertices.reshape(-1, 3), quads.reshape(-1, 4)
