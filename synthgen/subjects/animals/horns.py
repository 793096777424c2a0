"""Gives the hornless bases of goats and rams their horns: ringed, tapering tubes that grow out of the skull.

Conventions: places and lengths are in the unit of the head's frame (mouth.HeadFrame); written for the left side.
"""

from dataclasses import dataclass

import numpy as np

from synthgen.subjects.animals.mouth import HeadFrame
from synthgen.subjects.animals.rig import BONE, PART_NAMES
from synthgen.subjects.mesh import grid_faces

_COLUMNS = 10


@dataclass(frozen=True)
class HornStyle:
    """How a horn grows.

    Attributes:
        root: (ahead, up, outwards), inside the skull. radius: at the root. length: along the horn.
        lean_deg: which way it sets out: 0 upwards, 90 backwards. curl_deg: how far it turns from there, backwards and
            down. outwards: share of its way that leads outwards, at the root and at the tip.
        rings: along its length. rows: of quads.
    """

    root: tuple[float, float, float]
    radius: float
    length: float
    lean_deg: float
    curl_deg: float
    outwards: tuple[float, float]
    rings: int
    rows: int


HORNS = {
    "deer": HornStyle((-0.22, 0.08, 0.1), 0.085, 1.35, 12.0, 95.0, (0.16, 0.28), 12, 26),
    "alpaca": HornStyle((-0.16, 0.14, 0.17), 0.17, 2.6, 45.0, 355.0, (0.3, 0.5), 16, 34),
}
"""Bases that get horns: a goat's, a ram's."""


def grow_horns(
    base: str, vertices: np.ndarray, weights: np.ndarray, faces: np.ndarray, parts: np.ndarray, frame: HeadFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Append a pair of horns to vertices [V,3], weights [V,B], faces [F,4] and parts [F], if the base gets any."""
    if base not in HORNS:
        return vertices, weights, faces, parts
    points, quads = _horn(HORNS[base])
    for side in (1, -1):
        placed = frame.eyes + frame.unit * (
            points[:, :1] * frame.forward + points[:, 1:2] * frame.upward + side * points[:, 2:] * [1, 0, 0]
        )
        faces = np.concatenate([faces, (quads if side > 0 else quads[:, ::-1]) + len(vertices)])
        vertices = np.concatenate([vertices, placed])
        of_head = np.zeros((len(points), weights.shape[1]))
        of_head[:, BONE["head"]] = 1
        weights = np.concatenate([weights, of_head])
        parts = np.concatenate([parts, np.full(len(quads), PART_NAMES.index("horns"))])
    return vertices, weights, faces, parts


def _horn(style: HornStyle) -> tuple[np.ndarray, np.ndarray]:
    """The left horn: vertices [N,3] (ahead, up, outwards) and faces [F,4]."""
    along = np.linspace(0, 1, style.rows + 1)
    angle = np.radians(style.lean_deg + style.curl_deg * along)
    outwards = np.interp(along, [0, 1], style.outwards)
    level = np.sqrt(1 - outwards**2)
    way = np.stack([-np.sin(angle) * level, np.cos(angle) * level, outwards], 1)
    # Growth slows towards the tip: a curled horn winds inwards.
    step = style.length / style.rows * (1.35 - 0.7 * along)
    line = np.array(style.root) + np.concatenate([np.zeros((1, 3)), np.cumsum((way * step[:, None])[:-1], 0)])
    across = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    third = np.cross(way, across)
    third /= np.linalg.norm(third, axis=1, keepdims=True)
    across = np.cross(third, way)
    ringed = 1 + 0.07 * np.sin(2 * np.pi * style.rings * along) * (1 - along)
    radius = style.radius * ringed * (1 - 0.93 * along**1.3)
    around = 2 * np.pi * np.arange(_COLUMNS) / _COLUMNS
    rim = np.cos(around)[:, None] * across[:, None] * 1.2 + np.sin(around)[:, None] * third[:, None] * 0.85
    points = line[:, None] + radius[:, None, None] * rim
    tip = (line[-1] + radius[-1] * way[-1])[None]
    quads = grid_faces(style.rows + 1, _COLUMNS, closed=True)
    last = style.rows * _COLUMNS + np.arange(_COLUMNS)
    end = np.full(_COLUMNS, (style.rows + 1) * _COLUMNS)
    return np.concatenate([points.reshape(-1, 3), tip]), np.concatenate(
        [quads, np.stack([last, end, np.roll(last, -1), np.roll(last, -1)], 1)]
    )
