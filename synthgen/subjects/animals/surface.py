"""From a coarse triangle mesh to a smooth one: welding, quads, Catmull-Clark subdivision that carries attributes along.

Conventions: faces [F,4] int, counter-clockwise seen from outside; a triangle repeats its last index.
"""

import numpy as np


def weld(vertices: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Merge vertices [V,3] that lie within about `distance`.

    Returns:
        The first vertex of each merged group [W], and the group of each vertex [V].
    """
    _, first, group = np.unique(np.round(vertices / distance), axis=0, return_index=True, return_inverse=True)
    return first, group.reshape(-1)


def quads_of(triangles: np.ndarray, normals: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join neighbours among triangles [T,3] that follow one another and are nearly flat: exporters split quads so.

    Args:
        normals: [T,3] unit. labels: [T].

    Returns:
        Faces [F,4] and their labels [F].
    """
    faces, kept, at = [], [], 0
    while at < len(triangles):
        first = triangles[at].tolist()
        if at + 1 < len(triangles) and labels[at] == labels[at + 1] and normals[at] @ normals[at + 1] > 0.7:
            second = triangles[at + 1].tolist()
            shared = set(first) & set(second)
            if len(shared) == 2:
                (tip,) = set(first) - shared
                (opposite,) = set(second) - shared
                k = first.index(tip)
                faces.append([tip, first[(k + 1) % 3], opposite, first[(k + 2) % 3]])
                kept.append(labels[at])
                at += 2
                continue
        faces.append([*first, first[2]])
        kept.append(labels[at])
        at += 1
    return np.array(faces), np.array(kept)


def subdivide(values: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of Catmull-Clark (Catmull and Clark, 1978) with the usual rule for borders.

    Args:
        values: [V,C] positions and whatever else vertices carry, all treated alike. faces: [F,4].

    Returns:
        Values: the V old vertices, moved, come first; faces, all quads; the old face of each.
    """
    num = len(values)
    is_quad = faces[:, 3] != faces[:, 2]
    corner_face = np.concatenate([np.repeat(np.flatnonzero(is_quad), 4), np.repeat(np.flatnonzero(~is_quad), 3)])
    here = np.concatenate([faces[is_quad].reshape(-1), faces[~is_quad, :3].reshape(-1)])
    after = np.concatenate(
        [np.roll(faces[is_quad], -1, 1).reshape(-1), np.roll(faces[~is_quad, :3], -1, 1).reshape(-1)]
    )
    before_corner = np.concatenate(
        [
            np.roll(np.arange(4 * is_quad.sum()).reshape(-1, 4), 1, 1).reshape(-1),
            4 * is_quad.sum() + np.roll(np.arange(3 * (~is_quad).sum()).reshape(-1, 3), 1, 1).reshape(-1),
        ]
    )
    face_points = _sum(corner_face, values[here], len(faces)) / np.where(is_quad, 4, 3)[:, None]
    ends, edge = np.unique(np.sort(np.stack([here, after], 1), 1), axis=0, return_inverse=True)
    edge = edge.reshape(-1)
    sharing = np.bincount(edge, minlength=len(ends))
    middle = values[ends].mean(1)
    beside = _sum(edge, face_points[corner_face], len(ends)) / sharing[:, None]
    inner = sharing == 2
    edge_points = np.where(inner[:, None], (middle + beside) / 2, middle)

    valence = np.bincount(here, minlength=num)
    around_faces = _sum(here, face_points[corner_face], num)
    edges_at = np.bincount(ends.reshape(-1), minlength=num)
    around_edges = _sum(ends.reshape(-1), np.repeat(middle, 2, 0), num)
    smooth = (
        around_faces / np.maximum(valence, 1)[:, None]
        + 2 * around_edges / np.maximum(edges_at, 1)[:, None]
        + (edges_at[:, None] - 3) * values
    ) / np.maximum(edges_at, 1)[:, None]
    border = ends[~inner]
    on_border = np.bincount(border.reshape(-1), minlength=num)
    along = _sum(border.reshape(-1), np.repeat(middle[~inner], 2, 0), num) / np.maximum(on_border, 1)[:, None]
    moved = np.where((on_border > 0)[:, None], (values + along) / 2, smooth)
    moved[edges_at < 3] = np.where((on_border > 0)[:, None], (values + along) / 2, values)[edges_at < 3]

    edge_at = num + len(faces) + edge
    new_faces = np.stack([here, edge_at, num + corner_face, edge_at[before_corner]], 1)
    return np.concatenate([moved, face_points, edge_points]), new_faces, corner_face


def smooth_surface(
    values: np.ndarray, faces: np.ndarray, steps: int, keep: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Subdivide `steps` times, first pushing vertices out so that thin limbs do not shrink.

    Args:
        values: [V,C], the first three columns positions.
        keep: 0 plain Catmull-Clark, 1 surfaces pass nearly through the given vertices.

    Returns:
        As `subdivide`, the old face being the given one.
    """
    cage = values.copy()
    for _ in range(3):
        smooth, *_ = _repeat(cage[:, :3], faces, steps)
        cage[:, :3] += keep * 0.6 * (values[:, :3] - smooth[: len(values)])
    return _repeat(cage, faces, steps)


def _repeat(values: np.ndarray, faces: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    origin = np.arange(len(faces))
    for _ in range(steps):
        values, faces, old = subdivide(values, faces)
        origin = origin[old]
    return values, faces, origin


def _sum(index: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """Sum of the rows [N,C] that go to each of `size` rows."""
    return np.stack([np.bincount(index, column, size) for column in rows.T], 1)
