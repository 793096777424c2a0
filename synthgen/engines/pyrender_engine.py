"""The `pyrender` engine: fast pictures from the same stage and with the same labels as Blender's.

OpenGL finds the triangle that the centre of each pixel sees, and shades what lies there by the exact geometry. Light:
lamps and the environment's key light with hard shadows, by depth maps; the rest of the environment without shadows; no
light from surface to surface, no relief. Pictures are smoothed where what neighbouring pixels see differs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from posecore.camera import Camera
from synthgen.backdrop import lay_behind
from synthgen.engines.environment import Environment, read_map, split_light
from synthgen.engines.opengl import Light, open_graphics, silenced, start_opengl
from synthgen.engines.patterns import linear_colour
from synthgen.engines.surfaces import Covering, Surfaces, gather_surfaces, to_passes
from synthgen.renderer import Passes
from synthgen.scene import LightSpec
from synthgen.stage import Stage

_SUN_W_PER_M2 = 3.0  # irradiance of LightSpec.strength 1, as in Blender
_EDGE_M = 0.04  # a step in depth on a subject that is an edge to smooth
_SHADOWS_M = 8.0  # how far from the subjects on each axis depth maps tell shadows
_SUNK_M = 0.1  # how deep soles and the wall may stand in the floor
_FAINT = 0.01  # share of the light below which a lamp is left out


class PyrenderRenderer:
    """Renders stages through pyrender's OpenGL; see `Renderer`.

    Args:
        asset_path: gives the file of an image asset (environment map, texture) by its id.
        threads: 0 takes all cores.

    Raises:
        UserError: there is no OpenGL without a display here.
    """

    name = "pyrender"
    version = "2"

    def __init__(self, asset_path: Callable[[str], Path], threads: int = 0) -> None:
        start_opengl(threads)
        self._asset_path = asset_path
        self._stage: Stage | None = None
        self._skies: dict[str, tuple[int, Environment]] = {}
        self._textures: dict[str, int] = {}

    def set_stage(self, stage: Stage) -> None:
        self._stage = stage

    def render(self, frame: int, view: int) -> Passes:
        assert self._stage is not None
        with silenced():
            passes = self._draw(gather_surfaces(self._stage, frame), self._stage.cameras[view])
        photo = self._stage.spec.world.photo
        if view or photo is None:
            return passes
        something = np.isfinite(passes.depth_m).astype(np.float32)
        before = passes.radiance * something[..., None]
        return replace(passes, radiance=lay_behind(before, something, passes.instances > 0, self._asset_path(photo)))

    def close(self) -> None:
        with silenced():
            open_graphics().forget([*(sky for sky, _ in self._skies.values()), *self._textures.values()])
        self._skies.clear()
        self._textures.clear()

    def _draw(self, surfaces: Surfaces, camera: Camera) -> Passes:
        graphics, covering = open_graphics(), surfaces.covering
        self._load_textures(covering)
        graphics.load(surfaces, self._textures)
        found = graphics.find(camera)
        graphics.light(self._light(surfaces))
        rows, columns = (2 * places.ravel() + 1 for places in np.indices((camera.height, camera.width)))
        triangle = found[1::2, 1::2]
        shaded = graphics.shade(found, rows, columns)
        edges = _edges(covering, triangle, shaded.depth_m.reshape(triangle.shape))
        corners = np.zeros((camera.height + 1, camera.width + 1), dtype=bool)
        for row, column in np.ndindex(2, 2):
            corners[row : row + camera.height, column : column + camera.width] |= edges
        around = graphics.shade(found, *(2 * places for places in np.nonzero(corners)))
        picture = _smooth(shaded.radiance.reshape(*triangle.shape, 3), edges, corners, around.radiance)
        return to_passes(covering, triangle.ravel(), shaded.depth_m, shaded.normals, picture)

    def _load_textures(self, covering: Covering) -> None:
        for texture in {material.texture for material in covering.materials if material.texture} - set(self._textures):
            picture = cv2.imread(str(self._asset_path(texture)), cv2.IMREAD_COLOR)
            if picture is None:
                raise ValueError(f"{texture}: not a readable picture")
            self._textures[texture] = open_graphics().upload(picture[..., ::-1])

    def _light(self, surfaces: Surfaces) -> Light:
        """The environment, its key light and the lamps of the scene, but for faint ones."""
        assert self._stage is not None
        world = self._stage.spec.world
        sky, environment = self._sky(world.hdri)
        angle = np.deg2rad(world.turn_deg)
        cosine, sine = np.cos(angle), np.sin(angle)
        sky_from_world = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        middle = np.concatenate([subject.vertices for subject in self._stage.subjects[0]]).mean(axis=0)
        key = _Lamp(
            place=environment.key_direction @ sky_from_world,
            irradiance=environment.key_irradiance * world.strength,
            distance_m=0.0,
        )
        lamps = [key, *(_lamp(lamp, middle) for lamp in self._stage.spec.lights)]
        brightest = max(lamp.irradiance.sum() for lamp in lamps)
        around = environment.harmonics[0].sum() * world.strength * 0.282  # the value of band 0's harmonic
        lamps = [lamp for lamp in lamps if lamp.irradiance.sum() > _FAINT * max(brightest, around)]
        places = np.array([[*lamp.place, lamp.distance_m > 0] for lamp in lamps]).reshape(-1, 4)
        casters, large = _casters(surfaces, places)
        return Light(
            sky=sky,
            sky_from_world=sky_from_world,
            sky_strength=world.strength,
            harmonics=environment.harmonics,
            lamp_places=places,
            lamp_irradiances=np.array([[*lamp.irradiance, lamp.distance_m] for lamp in lamps]).reshape(-1, 4),
            casters=casters,
            large=large,
        )

    def _sky(self, asset: str) -> tuple[int, Environment]:
        if asset not in self._skies:
            image = read_map(self._asset_path(asset))
            self._skies[asset] = open_graphics().upload(image, clamp_rows=True), split_light(image)
        return self._skies[asset]


def _casters(surfaces: Surfaces, lamps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, 3] round what casts shadows near the subjects, and the triangles [M, 3, 3] that reach far away from
    them and have something on the side that lamps [L, 4] do not shine on."""
    covering = surfaces.covering
    subjects = surfaces.vertices[: len(surfaces.vertices) - len(covering.thing_vertices) : 8]  # the rest are near
    points = np.concatenate([subjects, covering.thing_vertices])
    near = points[(np.abs(points - subjects.mean(axis=0)) < _SHADOWS_M).all(axis=1)]
    of_things = surfaces.vertices[covering.triangles[covering.instances == 0]]
    away = np.abs(of_things - subjects.mean(axis=0)) >= _SHADOWS_M
    large = of_things[away.any(axis=(1, 2))].astype(np.float64)
    a, b, c = large.transpose(1, 0, 2)
    planes = np.cross(b - a, c - a)
    planes /= np.linalg.norm(planes, axis=1, keepdims=True)
    offsets = (planes * a).sum(axis=1)
    sides = points @ planes.T - offsets  # [N, M]
    shines_on = lamps[:, :3] @ planes.T - lamps[:, 3:] * offsets > 0  # [L, M]
    has_dark_side = shines_on.any(axis=0) & (sides.min(axis=0) < -_SUNK_M)
    has_dark_side |= ~shines_on.all(axis=0) & (sides.max(axis=0) > _SUNK_M)
    return near, large[has_dark_side]


def _edges(covering: Covering, triangle: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels that border on another material, or on a subject on a jump in depth."""
    material = np.where(triangle >= 0, covering.material[triangle], -1)
    on_subject = (triangle >= 0) & (covering.instances[triangle] > 0)
    depth_m = np.where(on_subject, depth_m, 0)
    edges = np.zeros(material.shape, dtype=bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (material[here] != material[there]) | (np.abs(depth_m[here] - depth_m[there]) > _EDGE_M)
        edges[here] |= differ
        edges[there] |= differ
    return edges


def _smooth(picture: np.ndarray, edges: np.ndarray, needed: np.ndarray, radiance: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] whose pixels where `edges` is true are mixed half and half with their corners, of which
    `radiance` [N, 3] tells those that are needed [H + 1, W + 1]."""
    corners = np.zeros((*needed.shape, 3), dtype=np.float32)
    corners[needed] = radiance
    rows, columns = np.nonzero(edges)
    around = sum(corners[rows + row, columns + column] for row, column in np.ndindex(2, 2))
    smoothed = picture.copy()
    smoothed[rows, columns] = picture[rows, columns] / 2 + around / 8
    return smoothed


@dataclass(frozen=True, eq=False)
class _Lamp:
    """A light: its place, or the direction to it if it is infinitely far; `irradiance` [3] at the subjects on a surface
    that faces it; its distance from them, 0 for infinitely far."""

    place: np.ndarray
    irradiance: np.ndarray
    distance_m: float


def _lamp(spec: LightSpec, middle: np.ndarray) -> _Lamp:
    azimuth, elevation = np.deg2rad(spec.azimuth_deg), np.deg2rad(spec.elevation_deg)
    direction = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    irradiance = _SUN_W_PER_M2 * spec.strength * linear_colour(spec.colour)
    if spec.kind == "sun":
        return _Lamp(direction, irradiance, 0.0)
    return _Lamp(middle + spec.distance_m * direction, irradiance, spec.distance_m)
