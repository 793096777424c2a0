"""Shapes of things that are not labelled, from balls to furniture, as unit meshes.

Every shape lies within a cube of side 1 about the origin, z up, quads facing outwards (a triangle repeats its last
index), to be scaled to its size.
"""

import numpy as np

SIMPLE_FORMS = ("box", "ball", "cylinder", "cone")
SMOOTH_FORMS = ("ball", "tree")

# Width, depth and height in metres, least and most, that a thing of each form may have.
FORM_SIZES_M: dict[str, tuple[tuple[float, float], ...]] = {
    **dict.fromkeys(SIMPLE_FORMS, ((0.15, 1.0),) * 3),
    "table": ((0.8, 1.8), (0.6, 1.0), (0.45, 1.0)),
    "chair": ((0.4, 0.55), (0.4, 0.55), (0.8, 1.1)),
    "sofa": ((1.2, 2.2), (0.8, 0.95), (0.7, 0.95)),
    "shelf": ((0.6, 1.4), (0.25, 0.45), (1.0, 2.2)),
    "pole": ((0.08, 0.35), (0.08, 0.35), (1.8, 3.5)),
    "plant": ((0.35, 0.9), (0.35, 0.9), (0.6, 2.0)),
    "tree": ((1.2, 2.6), (1.2, 2.6), (2.2, 4.5)),
    "barrier": ((1.2, 2.5), (0.05, 0.15), (0.8, 1.2)),
}

# Furniture as boxes: low corner and high corner in the unit cube, 0..1.
_BOXES = {
    "table": [
        ((0, 0, 0.94), (1, 1, 1)),
        *[((x, y, 0), (x + 0.06, y + 0.08, 0.94)) for x in (0.03, 0.91) for y in (0.04, 0.88)],
    ],
    "chair": [
        ((0, 0, 0.42), (1, 1, 0.48)), ((0, 0.92, 0.48), (1, 1, 1)),
        *[((x, y, 0), (x + 0.1, y + 0.1, 0.42)) for x in (0, 0.9) for y in (0, 0.9)],
    ],
    "sofa": [
        ((0, 0, 0), (1, 1, 0.5)), ((0, 0.75, 0.5), (1, 1, 1)),
        ((0, 0, 0.5), (0.12, 0.75, 0.72)), ((0.88, 0, 0.5), (1, 0.75, 0.72)),
    ],
    "shelf": [
        ((0, 0, 0), (0.04, 1, 1)), ((0.96, 0, 0), (1, 1, 1)),
        *[((0.04, 0, z), (0.96, 1, z + 0.03)) for z in (0.0, 0.24, 0.48, 0.72, 0.97)],
    ],
    "barrier": [
        ((0, 0, 0.8), (1, 1, 1)), ((0, 0, 0.4), (1, 1, 0.55)),
        ((0.05, 0.2, 0), (0.1, 0.8, 1)), ((0.9, 0.2, 0), (0.95, 0.8, 1)),
    ],
}  # fmt: skip
_RING = 24  # corners of round shapes


def unit_form(form: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V,3] within the cube of side 1 about the origin, and quads [F,4].

    Raises:
        ValueError: no such form.
    """
    match form:
        case "box":
            return _boxes([((0, 0, 0), (1, 1, 1))])
        case "ball":
            angles = np.linspace(0, np.pi, _RING // 2 + 1)
            return _revolve(0.5 * np.sin(angles), -0.5 * np.cos(angles))
        case "cylinder" | "pole":
            return _revolve(np.array([0, 0.5, 0.5, 0]), np.array([-0.5, -0.5, 0.5, 0.5]))
        case "cone":
            return _revolve(np.array([0, 0.5, 0]), np.array([-0.5, -0.5, 0.5]))
        case "plant":  # a pot and long leaves that hang outwards
            pot = _revolve(np.array([0, 0.18, 0.24, 0]), np.array([-0.5, -0.5, -0.25, -0.27]))
            return _joined([pot, *(_leaf(angle, tilt) for angle, tilt in _LEAVES)])
        case "tree":  # a trunk and three balls of leaves
            trunk = _revolve(np.array([0, 0.06, 0.04, 0]), np.array([-0.5, -0.5, 0.1, 0.1]))
            angles = np.linspace(0, np.pi, 9)
            balls = []
            for x, y, z, radius in ((0, 0, 0.2, 0.3), (0.17, 0.05, 0.05, 0.22), (-0.15, -0.1, 0.08, 0.24)):
                vertices, faces = _revolve(radius * np.sin(angles), -radius * np.cos(angles))
                balls.append((vertices + np.array([x, y, z]), faces))
            return _joined([trunk, *balls])
        case _ if form in _BOXES:
            return _boxes(_BOXES[form])
    raise ValueError(f"unknown form {form!r}")


_LEAVES = tuple((2.4 * k, 0.25 + 0.9 * k / 14) for k in range(14))  # azimuth and how far each leaf hangs out, radians


def _leaf(azimuth: float, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """A strip that rises from the pot and bends outwards, both sides."""
    along = np.linspace(0, 1, 5)
    out = 0.5 * np.sin(tilt) * along**1.5
    up = -0.27 + 0.77 * np.cos(tilt) * along * (1.15 - 0.3 * along * tilt)
    width = 0.05 * np.sin(np.pi * np.clip(along + 0.12, 0, 1))
    radial = np.array([np.cos(azimuth), np.sin(azimuth)])
    aside = np.array([-radial[1], radial[0]])
    points = np.concatenate(
        [
            np.column_stack([out[:, None] * radial + sign * width[:, None] * aside, np.minimum(up, 0.5)])
            for sign in (-1, 1)
        ]
    )
    step = np.arange(4)
    faces = np.stack([step, step + 5, step + 6, step + 1], 1)
    return points, faces


def _boxes(corners: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> tuple[np.ndarray, np.ndarray]:
    faces = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])
    unit = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    return _joined([(np.array(low) + unit * np.subtract(high, low) - 0.5, faces) for low, high in corners])


def _joined(meshes: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def _revolve(radii: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A profile from bottom to top, turned about z."""
    angles = np.arange(_RING) * 2 * np.pi / _RING
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = [np.column_stack([r * circle, np.full(_RING, h)]) for r, h in zip(radii, heights, strict=True)]
    faces = []
    for ring in range(len(radii) - 1):
        here, there = ring * _RING + np.arange(_RING), (ring + 1) * _RING + np.arange(_RING)
        faces.append(np.stack([here, np.roll(here, -1), np.roll(there, -1), there], axis=1))
    return np.concatenate(rings), np.concatenate(faces)
