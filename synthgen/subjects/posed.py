"""A posed subject: the mesh, joints and part ids that every engine renders and every label derives from.

Conventions: world axes, z up, metres; at heading 0 the subject faces -y and its left is +x.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Painting:
    """A texture that a subject brings along.

    Attributes:
        image: [H,W,3] float32, factors on the materials' linear colours, the top row first.
        uv: [F,4,2] float32 coordinates of each face's corners in it, (0, 0) at the bottom left.
    """

    image: np.ndarray
    uv: np.ndarray


@dataclass(frozen=True, eq=False)
class PosedSubject:
    """One subject at one moment.

    Attributes:
        vertices: [V,3] float32, world, m.
        faces: [F,4] int32 quads, counter-clockwise seen from outside; a triangle repeats its last index.
        face_parts: [F] uint8, index into part_names.
        part_names: what each part is made of, e.g. "skin", "top"; a part may have no face. The first is the body's own
            surface, of which nobody sees the inside.
        rest: [V,3] float32, m: where each vertex lies at rest, so that procedural patterns stick to the body.
        joints_world: [J,3] float64, m, in the order of the skeleton's joints.
        joints_rest: [J,3] float64, m: the same joints in the space of `rest`, which tells a joint's own flesh from
            another limb that touches it.
        rotations: [J,3,3] float64 local rotations; G_j = G_parent L_j turns the world-aligned rest pose.
        limb_radius_m: [J] float64: how deep the joint lies under the surface; 0 for points on the surface.
        skeleton: name of the skeleton.
        place: [V,3] float32, m: where each vertex lies in its material (cut fabric, combed hair), or None for `rest`.
        tint: [V,3] float32 factor on the material's linear colour (blush, beard shadow, hems), or None.
        self_penetration_m: how deep a limb reaches into the body, 0 for not at all.
        uv: [F,4,2] float32 texture coordinates of each face's corners, (0, 0) at the image's bottom left, or None.
        painting: further factors on the material's colour, finer than the vertices, or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    part_names: tuple[str, ...]
    rest: np.ndarray
    joints_world: np.ndarray
    joints_rest: np.ndarray
    rotations: np.ndarray
    limb_radius_m: np.ndarray
    skeleton: str
    place: np.ndarray | None = None
    tint: np.ndarray | None = None
    self_penetration_m: float = 0.0
    uv: np.ndarray | None = None
    painting: Painting | None = None
