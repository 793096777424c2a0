"""Small operations on quad meshes at rest: cutting, normals, how deep joints lie, bumps.

Conventions: vertices [V,3] in metres, faces [F,4] int32 counter-clockwise seen from outside; a triangle repeats its
last index.
"""

import numpy as np


def cut(values: np.ndarray, faces: np.ndarray, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the part of a mesh where field < 0, with a smooth rim.

    Faces that reach inside stay; their outer vertices slide along the edges to where the field is 0.

    Args:
        values: [V,C] positions and whatever else vertices carry (all interpolated alike); faces: [F,4]; field: [V].

    Returns:
        Values [V2,C] float32 and faces [F2,4] int32 of the part that stays.
    """
    faces = faces[(field[faces] < 0).any(1)]
    used, flat = np.unique(faces, return_inverse=True)
    faces = flat.reshape(faces.shape).astype(np.int32)
    values, field = values[used].astype(np.float32), field[used]
    outside = field >= 0
    edges = np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2)
    edges = edges[outside[edges].any(1)]
    edges = np.concatenate([edges, edges[:, ::-1]])
    edges = edges[outside[edges[:, 0]]]
    crossing = edges[~outside[edges[:, 1]]]
    out, inn = crossing.T
    share = (field[inn] / (field[inn] - field[out]))[:, None].astype(np.float32)
    moved, at = _mean_at(out, values[inn] + share * (values[out] - values[inn]))
    values[at] = moved
    # A corner that touches the inside only across a quad has no crossing edge: it goes between its moved neighbours.
    is_moved = np.zeros(len(values), bool)
    is_moved[at] = True
    around = edges[~is_moved[edges[:, 0]] & is_moved[edges[:, 1]]]
    between, at = _mean_at(around[:, 0], values[around[:, 1]])
    values[at] = between
    return values, faces


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V,3]; 0 for vertices of no face."""
    normal = np.cross(vertices[faces[:, 2]] - vertices[faces[:, 0]], vertices[faces[:, 3]] - vertices[faces[:, 1]])
    total = np.stack(
        [np.bincount(faces.reshape(-1), np.repeat(normal[:, axis], 4), minlength=len(vertices)) for axis in range(3)],
        1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.where(length == 0, 1, length)).astype(np.float32)


def joint_depths(joints: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """How deep each joint [J,3] lies under a surface given by its vertices [N,3], m.

    The median over 14 directions (the cube's faces and corners) of the distance to the nearest vertex within 25
    degrees; directions that meet nothing (or only another limb, more than three times the nearest distance away) do not
    count.
    """
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3)
    directions = np.concatenate([np.eye(3), -np.eye(3), corners])
    away = (surface[None] - joints[:, None]).astype(np.float32)
    distance = np.sqrt(np.einsum("jnc,jnc->jn", away, away))
    closest = distance.min(1)
    nearest = np.full((len(directions), len(joints)), np.inf)
    for joint, (arrows, lengths) in enumerate(zip(away, distance, strict=True)):
        # what is further away does not count, see below
        near = lengths <= 3 * closest[joint]
        inside_cone = arrows[near] @ directions.T.astype(np.float32) > np.cos(np.radians(25)) * lengths[near, None]
        nearest[:, joint] = np.where(inside_cone, lengths[near, None], np.inf).min(0)
    nearest[nearest > 3 * closest] = np.nan
    # A joint that touches the surface may have no direction left.
    nearest[:, np.isnan(nearest).all(0)] = closest[np.isnan(nearest).all(0)]
    return np.nanmedian(nearest, axis=0)


def ripple(points: np.ndarray) -> np.ndarray:
    """Smooth bumps in -1..1 over space [...,3] in metres, some three centimetres wide."""
    x, y, z = np.moveaxis(points * 2 * np.pi, -1, 0)
    return (np.sin(23 * x + 5 * z) + np.sin(19 * y - 11 * x) + np.sin(13 * z + 17 * y + 1)) / 3


def rim_edges(faces: np.ndarray) -> np.ndarray:
    """Directed edges [N,2] that belong to one face only, in that face's direction."""
    edges = np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2).astype(np.int64)
    edges = edges[edges[:, 0] != edges[:, 1]]
    size = int(edges.max()) + 1
    return edges[~np.isin(edges[:, 1] * size + edges[:, 0], edges[:, 0] * size + edges[:, 1])].astype(np.int32)


def grid_faces(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """Quads [F,4] over a grid of vertices numbered row by row; `closed` joins the last column to the first."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], 1)
    return np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)


def _mean_at(index: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [M,C] of the values [N,C] that share an index, and the M indices."""
    order = np.argsort(index, kind="stable")
    at, start, count = np.unique(index[order], return_index=True, return_counts=True)
    if len(at) == 0:
        return values[:0], at
    return np.add.reduceat(values[order], start, axis=0) / count[:, None].astype(np.float32), at
