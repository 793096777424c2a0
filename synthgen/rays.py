"""Rays against a triangle mesh, by Intel's Embree: what a ray meets first and how far away, and whether it is blocked.

Distances count in lengths of the given direction: a direction whose planar depth is 1 m gives planar depths in metres.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from posecore.camera import Camera, project_cam, unproject
from posecore.transforms import transform_points

_GRID = 256  # cells a side that SeenMesh looks for faces by
_ROUNDED_PX = 0.01  # by which places in single precision may be off
_MOST_COMPARED = 500_000  # faces times pixels


@dataclass(frozen=True, eq=False)
class Hits:
    """First hits of N rays.

    Attributes:
        distance: [N] float32, infinite where a ray meets nothing.
        triangle: [N] int32, -1 where a ray meets nothing.
        weights: [N, 3] float32 barycentric weights of the triangle's corners.
    """

    distance: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray


class RayMesh:
    """Triangles in a tree that rays are cast against; building it takes about 0.7 us a triangle.

    Args:
        vertices: [V, 3] metres. triangles: [T, 3].
    """

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        self._scene = EmbreeScene()
        TriangleMesh(
            self._scene,
            np.ascontiguousarray(vertices, dtype=np.float32),
            np.ascontiguousarray(triangles, dtype=np.int32),
        )

    def first_hits(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Where rays [N, 3] from origins [3] or [N, 3] first meet the mesh."""
        origins, directions = _rays(origins, directions)
        found = self._scene.run(origins, directions, query="INTERSECT", output=True)
        u, v = found["u"], found["v"]
        return Hits(
            distance=np.where(found["primID"] >= 0, found["tfar"], np.float32(np.inf)),
            triangle=found["primID"],
            weights=np.stack([1 - u - v, u, v], axis=1),
        )

    def blocked(self, origins: np.ndarray, directions: np.ndarray, reach: float = np.inf) -> np.ndarray:
        """[N] bool: whether anything lies within `reach` lengths of each ray's direction."""
        origins, directions = _rays(origins, directions)
        dists = np.full(len(origins), min(reach, 1e30), dtype=np.float32)
        return self._scene.run(origins, directions, dists, query="OCCLUDED") >= 0


class SeenMesh:
    """A mesh as one camera sees it, for rays through few of its pixels: only what lies near them goes into a tree.

    Args:
        vertices: [V, 3] world, metres. faces: [F, 4] quads (a triangle repeats its last index).

    Attributes:
        pixels: [V, 2] where the vertices are seen, NaN for those behind the camera. farthest_m: depth of the last one.
    """

    def __init__(self, camera: Camera, vertices: np.ndarray, faces: np.ndarray) -> None:
        self._camera, self._vertices, self._faces = camera, vertices, faces
        vertices_cam = transform_points(camera.cam_from_world, vertices.astype(np.float64))
        self.pixels, self.farthest_m = project_cam(camera.K, vertices_cam), float(vertices_cam[:, 2].max())
        corners = np.ascontiguousarray(faces.T)
        self._boxes = []  # of the faces, in x and in y: where they begin and end
        for place in np.ascontiguousarray(self.pixels.T, dtype=np.float32):
            a, b, c, d = (place[corner] for corner in corners)
            low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
            # a face with a corner behind the camera may reach anywhere
            begin, end = np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)
            self._boxes.append((begin - _ROUNDED_PX, end + _ROUNDED_PX))

    def first_hits(self, pixels: np.ndarray) -> tuple[Hits, np.ndarray]:
        """Where the rays through pixels [N, 2] first meet the mesh, at planar depths in metres; and the vertices [N, 3]
        of the triangles that they meet, any where they meet nothing."""
        corners = split_quads(self._faces[self._near(pixels)])[0]
        used = np.zeros(len(self._vertices), dtype=bool)
        used[corners] = True
        rays = unproject(self._camera.K, pixels, np.ones(len(pixels))) @ self._camera.cam_from_world[:3, :3]
        mesh = RayMesh(self._vertices[used], (np.cumsum(used, dtype=np.int32) - 1)[corners])
        hits = mesh.first_hits(self._camera.position_world, rays)
        return hits, corners[hits.triangle]

    def _near(self, pixels: np.ndarray) -> np.ndarray:
        """Indices of the faces whose boxes touch a cell of a coarse grid that holds one of the pixels or, for few
        pixels, that hold one of them; at least one face, as the tree needs it."""
        low = pixels.min(axis=0)
        cell_px = max(float((pixels.max(axis=0) - low).max()) / _GRID, 1e-3)
        taken = np.zeros((_GRID + 1, _GRID + 1), dtype=np.uint8)
        x, y = ((pixels - low) / cell_px).astype(np.int32).T
        taken[y, x] = 1
        count = cv2.integral(taken)  # [_GRID + 2, _GRID + 2], a summed-area table with a border of zeros
        (x0, x1), (y0, y1) = (
            [
                np.clip((edge_px - start) / cell_px + more, 0, _GRID + 1).astype(np.int32)
                for edge_px, more in zip(box, (0, 1), strict=True)
            ]
            for box, start in zip(self._boxes, low.astype(np.float32), strict=True)
        )
        near = np.flatnonzero(count[y1, x1] - count[y0, x1] - count[y1, x0] + count[y0, x0])
        if len(near) * len(pixels) < _MOST_COMPARED:
            holds = np.ones((len(near), len(pixels)), dtype=bool)
            for (begin_px, end_px), place in zip(self._boxes, pixels.T.astype(np.float32), strict=True):
                holds &= (begin_px[near, None] <= place) & (place <= end_px[near, None])
            near = near[holds.any(axis=1)]
        return near if len(near) else np.zeros(1, dtype=int)


def split_quads(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads [F, 4] (a triangle repeats its last index) as triangles [T, 3], and the face [T] each comes from."""
    whole = np.flatnonzero(faces[:, 3] != faces[:, 2])
    triangles = np.concatenate([faces[:, :3], faces[whole][:, [0, 2, 3]]])
    return triangles, np.concatenate([np.arange(len(faces)), whole])


def _rays(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    directions = np.ascontiguousarray(directions, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(origins, directions.shape), dtype=np.float32), directions
