"""Rays against a triangle mesh, by Intel's Embree: what a ray meets first and how far away, and whether it is blocked.

Distances count in lengths of the given direction: a direction whose planar depth is 1 m gives planar depths in metres.
"""

from dataclasses import dataclass, replace

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from posecore.camera import Camera, project, unproject

_GRID = 256  # cells a side that SeenMesh looks for triangles by


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
        vertices: [V, 3] world, metres. triangles: [T, 3].
    """

    def __init__(self, camera: Camera, vertices: np.ndarray, triangles: np.ndarray) -> None:
        self._camera, self._vertices, self._triangles = camera, vertices, triangles
        pixels = project(camera, vertices.astype(np.float64))
        # a triangle with a corner behind the camera may reach anywhere
        low_px, high_px = np.nan_to_num(pixels, nan=-np.inf), np.nan_to_num(pixels, nan=np.inf)
        a, b, c = triangles.T
        self._low_px = np.minimum(np.minimum(low_px[a], low_px[b]), low_px[c])
        self._high_px = np.maximum(np.maximum(high_px[a], high_px[b]), high_px[c])

    def first_hits(self, pixels: np.ndarray) -> Hits:
        """Where the rays through pixels [N, 2] first meet the mesh; distances are planar depths in metres."""
        near = self._near(pixels)
        rays = unproject(self._camera.K, pixels, np.ones(len(pixels))) @ self._camera.cam_from_world[:3, :3]
        corners = self._triangles[near]
        used = np.zeros(len(self._vertices), dtype=bool)
        used[corners] = True
        mesh = RayMesh(self._vertices[used], (np.cumsum(used) - 1)[corners])
        hits = mesh.first_hits(self._camera.position_world, rays)
        return replace(hits, triangle=np.where(hits.triangle >= 0, near[hits.triangle], -1))

    def _near(self, pixels: np.ndarray) -> np.ndarray:
        """Indices of the triangles whose boxes touch a cell of a coarse grid that holds one of the pixels; at least one
        triangle, as the tree needs it."""
        low = pixels.min(axis=0)
        cell_px = max(float((pixels.max(axis=0) - low).max()) / _GRID, 1e-3)
        taken = np.zeros((_GRID + 2, _GRID + 2), dtype=np.int32)  # a summed-area table with a border of zeros
        x, y = ((pixels - low) / cell_px).astype(int).T
        taken[y + 1, x + 1] = 1
        taken = taken.cumsum(axis=0).cumsum(axis=1)
        (x0, y0), (x1, y1) = (
            np.clip(np.floor((corner - low) / cell_px) + edge, 0, _GRID + 1).astype(int).T
            for corner, edge in ((self._low_px, 0), (self._high_px, 1))
        )
        near = np.flatnonzero(taken[y1, x1] - taken[y0, x1] - taken[y1, x0] + taken[y0, x0] > 0)
        return near if len(near) else np.zeros(1, dtype=int)


def split_quads(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads [F, 4] (a triangle repeats its last index) as triangles [T, 3], and the face [T] each comes from."""
    whole = np.flatnonzero(faces[:, 3] != faces[:, 2])
    triangles = np.concatenate([faces[:, :3], faces[whole][:, [0, 2, 3]]])
    return triangles, np.concatenate([np.arange(len(faces)), whole])


def _rays(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    directions = np.ascontiguousarray(directions, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(origins, directions.shape), dtype=np.float32), directions
