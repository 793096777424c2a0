"""The `painter` engine: flat-shaded pictures without Blender, from the same stage and with the same labels.

For tests, quick looks at a recipe and machines without bpy. Each pixel's centre casts one ray. One lamp from above the
camera; the world is a plain sky; a surface has the first colour of its material, tinted and painted.
"""

import numpy as np

from synthgen.engines.surfaces import cast, gather_surfaces, painted_tint, shading_normals, to_passes
from synthgen.renderer import Passes
from synthgen.stage import Stage

_SKY = (0.35, 0.45, 0.6)


class PainterRenderer:
    """Renders stages by casting a ray through each pixel's centre; see `Renderer`."""

    name = "painter"
    version = "2"

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def set_stage(self, stage: Stage) -> None:
        self._stage = stage

    def render(self, frame: int, view: int) -> Passes:
        assert self._stage is not None
        surfaces, camera = gather_surfaces(self._stage, frame), self._stage.cameras[view]
        covering, seen = surfaces.covering, cast(surfaces, camera)
        normals = shading_normals(surfaces, seen)
        towards_lamp = np.array([0.2, -0.3, 1.0]) - camera.cam_from_world[2, :3]
        shade = 0.35 + 0.65 * np.abs(normals @ (towards_lamp / np.linalg.norm(towards_lamp)))
        colours = np.array([material.colours[0] for material in covering.materials]) ** 2.2
        lit = colours[covering.material[seen.triangle]] * painted_tint(covering, seen) * shade[:, None]
        radiance = np.where((seen.triangle >= 0)[:, None], lit, _SKY)
        size = (camera.height, camera.width, 3)
        return to_passes(covering, seen.triangle, seen.depth_m, normals, radiance.reshape(size))

    def close(self) -> None:
        self._stage = None
