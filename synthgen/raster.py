"""A small software rasteriser: which face covers each pixel, farther faces painted first.

It serves the `painter` engine of the tests and the silhouettes behind occlusion and truncation. Faces are sorted by
mean depth, so where faces cut through each other the result is approximate; faces with a corner behind the camera are
left out.
"""

import cv2
import numpy as np

from posecore.camera import Camera, project
from posecore.transforms import transform_points

_SHIFT = 4  # cv2 takes fixed-point coordinates
_NEAR_M = 0.01


def paint_faces(
    camera: Camera, vertices: np.ndarray, faces: np.ndarray, margin: float = 0.0, oversampling: int = 1
) -> np.ndarray:
    """Index of the face seen in each pixel, -1 for none.

    Args:
        vertices: [V, 3] world metres. faces: [F, 4] quads; a triangle repeats its last index.
        margin: how far the canvas reaches beyond the image on each side, in image sizes.
        oversampling: pixels of the canvas for each pixel of the image, along one side.

    Returns:
        [h, w] int32 with h = round(H (1 + 2 margin)) oversampling, w likewise.
    """
    depth = transform_points(camera.cam_from_world, vertices)[:, 2]
    offset = np.array([camera.width, camera.height]) * margin
    size = np.rint(np.array([camera.height, camera.width]) * (1 + 2 * margin)).astype(int) * oversampling
    with np.errstate(invalid="ignore"):
        # cv2 counts from the centre of the first pixel, we from its outer corner
        canvas_px = (project(camera, vertices) + offset) * oversampling - 0.5
    canvas = np.full(size, -1, dtype=np.float32)  # float32 holds every face index exactly and cv2 draws it
    in_front = (depth[faces] > _NEAR_M).all(axis=1)
    order = np.flatnonzero(in_front)
    order = order[np.argsort(-depth[faces[order]].mean(axis=1), kind="stable")]
    limit = 2.0**25
    corners = np.clip(np.rint(np.nan_to_num(canvas_px) * 2**_SHIFT), -limit, limit).astype(np.int32)[faces[order]]
    for face, polygon in zip(order.tolist(), corners, strict=True):
        cv2.fillConvexPoly(canvas, polygon, face, cv2.LINE_8, _SHIFT)
    return canvas.astype(np.int32)


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F, 3] unit normals of quads [F, 4], outwards for counter-clockwise corners; zero for a face without area."""
    diagonals = vertices[faces[:, 2]] - vertices[faces[:, 0]], vertices[faces[:, 3]] - vertices[faces[:, 1]]
    normals = np.cross(*diagonals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
