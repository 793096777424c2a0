"""Gives the packaged GLB animals a mouth that opens: their muzzles are modelled shut, in one piece.

The muzzle is cut along a line from the front of the lips to their corners. What lies below goes with the jaw, more and
more weakly towards its hinge; palate, floor and tongue close the cut. Shut, the mouth is the line that the cut leaves.

Conventions: places on a head are given as (ahead, up), in the middle plane, from the middle between the eyes: `ahead`
is 1 at the nose, `up` is across that, upwards, in the same unit.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from synthgen.subjects.animals.rig import BONE, PART_NAMES

# Where the lips meet in front, and their corners: set by eye on the meshes.
_LIPS_AND_CORNERS = {
    "horse": ((1.0, -0.26), (0.6, -0.26)), "horse_white": ((1.0, -0.26), (0.6, -0.26)),
    "donkey": ((1.0, -0.18), (0.58, -0.22)), "cow": ((1.0, -0.37), (0.52, -0.33)),
    "bull": ((1.0, -0.37), (0.52, -0.33)),
    "deer": ((0.98, -0.26), (0.52, -0.29)), "stag": ((0.98, -0.27), (0.52, -0.3)),
    "alpaca": ((1.0, -0.03), (0.62, -0.13)), "fox": ((1.0, -0.3), (0.4, -0.36)), "wolf": ((0.95, -0.42), (0.38, -0.46)),
    "husky": ((0.93, -0.42), (0.38, -0.46)), "shibainu": ((0.93, -0.5), (0.4, -0.54)),
}  # fmt: skip
_HINGE_AHEAD = 0.02
_CHEEK = 0.9  # how fast the skin behind the corners opens upwards and downwards
_LEAST_CHEEK = 0.03
_TONGUE_ROWS, _TONGUE_COLUMNS = 6, 7


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """The middle plane of a head: `eyes` [3] is its origin, `forward` and `upward` [3] its axes, `unit` in metres."""

    eyes: np.ndarray
    forward: np.ndarray
    upward: np.ndarray
    unit: float

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far [N] points lie ahead and up."""
        away = (points - self.eyes) / self.unit
        return away @ self.forward, away @ self.upward


def head_frame(left_eye: np.ndarray, right_eye: np.ndarray, nose: np.ndarray) -> HeadFrame:
    """The frame of a head by its landmarks [3]."""
    eyes = 0.5 * (left_eye + right_eye) * [0, 1, 1]
    forward = (nose - eyes) * [0, 1, 1]
    unit = float(np.linalg.norm(forward))
    forward = forward / unit
    return HeadFrame(eyes, forward, np.array([0, forward[2], -forward[1]]), unit)


def cut_mouth(
    base: str, vertices: np.ndarray, weights: np.ndarray, faces: np.ndarray, parts: np.ndarray, frame: HeadFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Open the muzzle of a base along its mouth, and close the cut inside.

    Args:
        vertices: [V,3]; weights: [V,B]; faces: [F,4] a triangle repeats its last index; parts: [F].

    Returns:
        The same with what was cut: the V vertices come first, unmoved, jaw and head having shared their weights.
    """
    lips, corner = _LIPS_AND_CORNERS[base]
    slope = (lips[1] - corner[1]) / (lips[0] - corner[0])

    def height_over_mouth(ahead: np.ndarray, up: np.ndarray) -> np.ndarray:
        return up - corner[1] - slope * (np.minimum(ahead, lips[0]) - corner[0])

    ahead, up = frame.coordinates(vertices)
    height = height_over_mouth(ahead, up)
    height = np.where(np.abs(height) < 1e-4, 1e-4, height)  # no vertex lies on the cut itself
    ends, share = _crossed_edges(faces, height)
    cuts = (1 - share) * ahead[ends[:, 0]] + share * ahead[ends[:, 1]] > corner[0]
    cuts &= (weights[ends, BONE["head"]] > 0.5).all(1)
    ends, share = ends[cuts], share[cuts][:, None]
    num_cuts = len(ends)
    on_cut, on_cut_weights = (
        (1 - share) * values[ends[:, 0]] + share * values[ends[:, 1]] for values in (vertices, weights)
    )
    # Each cut edge gets a vertex for the upper lip, then one for the lower.
    upper = {(int(a), int(b)): len(vertices) + number for number, (a, b) in enumerate(ends)}
    kept, divided, divided_parts, lip = _divide(faces, parts, height, upper, num_cuts)
    closed = lip[[0, -1]]
    weights = np.concatenate([weights, on_cut_weights, on_cut_weights])
    vertices = np.concatenate([vertices, on_cut, on_cut])
    faces = np.concatenate([faces[kept], divided])
    parts = np.concatenate([parts[kept], divided_parts])
    # Where the cut ends, both lips are one vertex.
    joined = np.arange(len(vertices))
    joined[closed + num_cuts] = closed
    faces = joined[faces]

    ahead, up = frame.coordinates(vertices)
    height = height_over_mouth(ahead, up)
    height[-2 * num_cuts :] = np.repeat([1e-6, -1e-6], num_cuts)
    cheek = _LEAST_CHEEK + _CHEEK * np.maximum(corner[0] - ahead, 0)
    below = np.where(ahead > corner[0], height < 0, _smooth(0.5 - height / (2 * cheek)))
    below[closed] = 0.5
    goes = below * _smooth((ahead - _HINGE_AHEAD) / (corner[0] - _HINGE_AHEAD))
    weights[:, BONE["jaw"]] += goes * weights[:, BONE["head"]]
    weights[:, BONE["head"]] *= 1 - goes

    lower_lip = joined[lip + num_cuts]
    palate = _sheet(vertices, lip, ahead, -frame.upward)
    floor = _sheet(vertices, lower_lip, ahead, frame.upward)
    tongue, tongue_faces = _tongue(vertices[lip], ahead[lip], frame)
    of_jaw = np.zeros((len(tongue), weights.shape[1]))
    of_jaw[:, BONE["jaw"]] = 1
    faces = np.concatenate([faces, palate, floor, tongue_faces + len(vertices)])
    parts = np.concatenate([parts, np.full(len(faces) - len(parts), PART_NAMES.index("mouth"))])
    vertices, weights = np.concatenate([vertices, tongue]), np.concatenate([weights, of_jaw])
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    new_index = np.cumsum(used) - 1
    return vertices[used], weights[used], new_index[faces], parts


def _crossed_edges(faces: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges [N,2], the lower index first, whose ends lie on both sides of 0, and where between them it is [N]."""
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2), axis=1)
    edges = np.unique(edges[height[edges[:, 0]] * height[edges[:, 1]] < 0], axis=0)
    first, second = height[edges].T
    return edges, first / (first - second)


def _divide(
    faces: np.ndarray, parts: np.ndarray, height: np.ndarray, upper: dict[tuple[int, int], int], num_cuts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Divide the faces that have cut edges.

    Args:
        upper: vertex of the upper lip of each cut edge; that of the lower lip is `num_cuts` further on.

    Returns:
        Which faces stay whole [F], what the others become [N,4], the parts of these [N], and the upper lip's vertices
        in order, from one end of the cut to the other.
    """
    kept = np.ones(len(faces), bool)
    divided, divided_parts, closed = [], [], []
    beside: dict[int, list[int]] = {lip: [] for lip in upper.values()}
    touched = np.flatnonzero((height[faces].min(1) < 0) & (height[faces].max(1) > 0))
    for face in touched:
        corners = list(dict.fromkeys(faces[face].tolist()))
        pieces: dict[bool, list[int]] = {True: [], False: []}
        outline, crossings = [], []
        for here, after in pairwise([*corners, corners[0]]):
            outline.append(here)
            pieces[bool(height[here] > 0)].append(here)
            lip = upper.get((min(here, after), max(here, after)))
            if lip is not None:
                crossings.append(lip)
                outline.append(lip)
                pieces[True].append(lip)
                pieces[False].append(lip + num_cuts)
        if not crossings:
            continue
        kept[face] = False
        if len(crossings) == 1:  # the cut ends here
            closed.append(crossings[0])
        else:
            first, second = crossings
            beside[first].append(second)
            beside[second].append(first)
        for piece in pieces.values() if len(crossings) == 2 else [outline]:
            of_piece = _quads(piece)
            divided += of_piece
            divided_parts += [parts[face]] * len(of_piece)
    lips = [closed[0]]
    while len(lips) < num_cuts:
        lips.append(next(lip for lip in beside[lips[-1]] if lip not in lips[-2:]))
    return kept, np.array(divided), np.array(divided_parts), np.array(lips)


def _quads(outline: list[int]) -> list[list[int]]:
    """A convex polygon as quads, and a triangle if its number of corners is odd."""
    found = []
    for at in range(1, len(outline) - 1, 2):
        corners = outline[at : at + 3]
        found.append([outline[0], *corners] if len(corners) == 3 else [outline[0], *corners, corners[-1]])
    return found


def _sheet(vertices: np.ndarray, lip: np.ndarray, ahead: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """Triangles [N,4] between both halves of a lip, from its ends to its middle, which look along `facing` [3]."""
    triangles, start, end = [], 0, len(lip) - 1
    while end - start > 1:
        from_start = ahead[lip[start + 1]] < ahead[lip[end - 1]]
        third = lip[start + 1] if from_start else lip[end - 1]
        triangles.append([lip[start], lip[end], third, third])
        start, end = start + from_start, end - (not from_start)
    triangles = np.array(triangles)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    looks_along = np.cross(b - a, c - a).sum(0) @ facing > 0
    return triangles if looks_along else triangles[:, [1, 0, 2, 3]]


def _tongue(rim: np.ndarray, ahead: np.ndarray, frame: HeadFrame) -> tuple[np.ndarray, np.ndarray]:
    """A low mound on the floor of the mouth: vertices [N,3] and quads."""
    back, front = ahead.min() + 0.02, ahead.min() + 0.88 * np.ptp(ahead)
    points = []
    for along in np.linspace(0, 1, _TONGUE_ROWS):
        at = back + along * (front - back)
        near = rim[np.abs(ahead - at) <= np.partition(np.abs(ahead - at), 3)[3]]
        half_m = 0.6 * np.abs(near[:, 0]).max() * np.sqrt(1 - 0.9 * along**4)
        middle = near.mean(0) * [0, 1, 1]
        middle += ((at - frame.coordinates(middle[None])[0][0]) * frame.unit) * frame.forward
        for across in np.linspace(-1, 1, _TONGUE_COLUMNS):
            rise_m = 0.5 * half_m * (np.sqrt(1 - across**2) - 0.25 * (1 - np.abs(across)) - 0.1) * (1 - 0.6 * along**3)
            points.append(middle + [across * half_m, 0, 0] + rise_m * frame.upward)
    grid = np.arange(len(points)).reshape(_TONGUE_ROWS, _TONGUE_COLUMNS)
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], -1).reshape(-1, 4)
    points = np.array(points)
    normal = np.cross(points[quads[0, 2]] - points[quads[0, 0]], points[quads[0, 3]] - points[quads[0, 1]])
    return points, quads if normal @ frame.upward > 0 else quads[:, ::-1]


def _smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
