"""The `pyrender` engine: fast pictures from the same stage and with the same labels as Blender's.

OpenGL tells which triangle the centre of each pixel sees; what lies there follows from the exact geometry in numpy.
Light: lamps and the environment's key light with hard shadows, by rays; the rest of the environment without shadows; no
light from surface to surface, no relief. Pictures are smoothed where what neighbouring pixels see differs.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from posecore.camera import Camera
from synthgen.backdrop import lay_behind
from synthgen.engines.environment import Environment, irradiance_on, load_environment, radiance_from
from synthgen.engines.opengl import Sight, look, start_opengl
from synthgen.engines.patterns import linear_colour, material_colours
from synthgen.engines.surfaces import (
    Seen,
    Surfaces,
    blend,
    gather_surfaces,
    painted_tint,
    pixel_directions,
    sample_texture,
    shading_normals,
    to_passes,
)
from synthgen.renderer import Passes
from synthgen.scene import LightSpec
from synthgen.stage import Stage

_SUN_W_PER_M2 = 3.0  # irradiance of LightSpec.strength 1, as in Blender
_EDGE_M = 0.04  # a step in depth on a subject that is an edge to smooth
_SHADOWS_M = 8.0  # how far from the subjects on each axis depth maps tell shadows
_FAINT = 0.01  # share of the light below which a lamp is left out
_MATT = 0.7  # roughness from which on there are no highlights
_GLANCING = 0.04  # share of light that a non-metal mirrors when seen straight on


class PyrenderRenderer:
    """Renders stages through pyrender's OpenGL; see `Renderer`.

    Args:
        asset_path: gives the file of an image asset (environment map, texture) by its id.
        threads: 0 takes all cores.

    Raises:
        UserError: there is no OpenGL without a display here.
    """

    name = "pyrender"
    version = "1"

    def __init__(self, asset_path: Callable[[str], Path], threads: int = 0) -> None:
        start_opengl(threads)
        self._asset_path = asset_path
        self._num_threads = threads or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._num_threads)
        self._stage: Stage | None = None
        self._environments: dict[str, Environment] = {}
        self._textures: dict[str, np.ndarray] = {}

    def set_stage(self, stage: Stage) -> None:
        self._stage = stage

    def render(self, frame: int, view: int) -> Passes:
        assert self._stage is not None
        spec, camera = self._stage.spec, self._stage.cameras[view]
        surfaces = gather_surfaces(self._stage, frame)
        lamps = self._lamps(self._environment(spec.world.hdri), _about_z(np.deg2rad(spec.world.turn_deg)))
        places = np.array([[*lamp.place, lamp.distance_m > 0] for lamp in lamps])
        size = (camera.height, camera.width)
        looks = look(surfaces.vertices, surfaces.triangles, camera, places, *_casters(surfaces))
        edges = _edges(surfaces, looks[0])
        needed = np.zeros((camera.height + 1, camera.width + 1), dtype=bool)
        for row, column in np.ndindex(2, 2):
            needed[row : row + camera.height, column : column + camera.width] |= edges
        pixels, corners = np.arange(camera.height * camera.width), np.flatnonzero(needed)
        seen = (_seen(looks[0], camera, pixels), _seen(looks[1], _between_pixels(camera), corners))
        seen, lit = (
            Seen(*(np.concatenate([getattr(part, field.name) for part, _ in seen]) for field in fields(Seen))),
            np.concatenate([shares for _, shares in seen]),
        )
        shares = _slices(len(lit), self._num_threads)
        shade = partial(self._shade, surfaces, lamps, camera)
        shaded = list(self._threads.map(lambda share: shade(_at(seen, share), lit[share]), shares))
        normals, radiance = (np.concatenate([part[index] for part in shaded]) for index in (0, 1))
        picture = radiance[: len(pixels)].reshape(*size, 3)
        _smooth(picture, edges, needed, radiance[len(pixels) :])
        seen = _at(seen, np.s_[: len(pixels)])
        passes = to_passes(surfaces, seen, normals[: len(pixels)], picture)
        photo = spec.world.photo
        if view or photo is None:
            return passes
        something = np.isfinite(passes.depth_m).astype(np.float32)
        before = passes.radiance * something[..., None]
        return replace(passes, radiance=lay_behind(before, something, passes.instances > 0, self._asset_path(photo)))

    def close(self) -> None:
        self._threads.shutdown()

    def _shade(
        self, surfaces: Surfaces, lamps: list["_Lamp"], camera: Camera, seen: Seen, lit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Normals [N, 3] of what is seen, and its linear radiance [N, 3] towards the camera."""
        assert self._stage is not None
        spec = self._stage.spec
        environment = self._environment(spec.world.hdri)
        turn = _about_z(np.deg2rad(spec.world.turn_deg))  # into the map's own directions
        all_normals = shading_normals(surfaces, seen)
        result = np.empty((len(seen.triangle), 3), dtype=np.float32)
        hit = seen.triangle >= 0
        result[~hit] = radiance_from(environment, seen.directions[~hit] @ turn.T) * spec.world.strength
        seen, normals, lit = _at(seen, hit), all_normals[hit], lit[hit] / np.float32(255)
        to_eye = -seen.directions / _length(seen.directions)[:, None]
        colours, roughness = self._colours(surfaces, seen, _dot(to_eye, normals), camera.K[0, 0])
        points = camera.position_world.astype(np.float32) + seen.directions * seen.depth_m[:, None]
        light = irradiance_on(environment, normals @ turn.T) * spec.world.strength
        mirrored = np.zeros_like(light)
        for number, lamp in enumerate(lamps):
            towards = lamp.place - points if lamp.distance_m else np.broadcast_to(lamp.place, points.shape)
            reach = _length(towards) if lamp.distance_m else np.ones(len(points), np.float32)
            received = np.maximum(_dot(towards, normals) / reach, 0) * lit[:, number]
            if lamp.distance_m:
                received *= (lamp.distance_m / reach) ** 2
            light += received[:, None] * lamp.irradiance
            shiny = np.flatnonzero((roughness < _MATT) & (received > 0))
            half = towards[shiny] / reach[shiny, None] + to_eye[shiny]
            power = 2 / np.maximum(roughness[shiny], 0.1) ** 4 - 2  # Blinn-Phong as wide as that roughness
            lobe = np.maximum(_dot(half, normals[shiny]) / _length(half), 0) ** power * (power + 2) / 8
            mirrored[shiny] += (_GLANCING * lobe * received[shiny])[:, None] * lamp.irradiance
        result[hit] = (colours * light + mirrored) / np.pi
        return all_normals, result

    def _colours(
        self, surfaces: Surfaces, seen: Seen, facing: np.ndarray, focal_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Linear surface colours [N, 3] and roughness [N] of what is seen; `facing` is the cosine towards the eye."""
        footprint_m = seen.depth_m / focal_px / np.maximum(facing, 0.05)
        material_of = surfaces.material[seen.triangle]
        colours = np.empty((len(material_of), 3), dtype=np.float32)
        for number in np.flatnonzero(np.bincount(material_of)):
            material = surfaces.materials[number]
            index = np.flatnonzero(material_of == number)
            if material.texture:
                uv = blend(surfaces.uv[seen.triangle[index]], seen.weights[index])
                colours[index] = self._sample(material.texture, uv) * linear_colour(material.colours[0])
            elif material.pattern == "plain":
                colours[index] = linear_colour(material.colours[0])
            else:
                place = blend(surfaces.place[seen.triangle[index]], seen.weights[index])
                colours[index] = material_colours(material, place, footprint_m[index])
        colours *= painted_tint(surfaces, seen)
        sheen = np.array([material.sheen for material in surfaces.materials], dtype=np.float32)
        colours *= 1 + (sheen[material_of] * (1 - np.clip(facing, 0, 1)) ** 3)[:, None]
        roughness = np.array([material.roughness for material in surfaces.materials], dtype=np.float32)
        return colours, roughness[material_of]

    def _sample(self, texture: str, uv: np.ndarray) -> np.ndarray:
        """Linear colours [N, 3] of a texture at coordinates [N, 2], (0, 0) at the bottom left."""
        if texture not in self._textures:
            picture = cv2.imread(str(self._asset_path(texture)), cv2.IMREAD_COLOR)
            if picture is None:
                raise ValueError(f"{texture}: not a readable picture")
            self._textures[texture] = linear_colour(picture[..., ::-1] / np.float32(255))
        return sample_texture(self._textures[texture], uv)

    def _lamps(self, environment: Environment, turn: np.ndarray) -> list["_Lamp"]:
        """The key light of the environment and the lamps of the scene, but for faint ones."""
        assert self._stage is not None
        spec = self._stage.spec
        middle = np.concatenate([subject.vertices for subject in self._stage.subjects[0]]).mean(axis=0)
        key = _Lamp(
            place=(environment.key_direction @ turn).astype(np.float32),
            irradiance=(environment.key_irradiance * spec.world.strength).astype(np.float32),
            distance_m=0.0,
        )
        lamps = [key, *(_lamp(lamp, middle) for lamp in spec.lights)]
        brightest = max(lamp.irradiance.sum() for lamp in lamps)
        around = environment.harmonics[0].sum() * spec.world.strength * 0.282  # the value of band 0's harmonic
        return [lamp for lamp in lamps if lamp.irradiance.sum() > _FAINT * max(brightest, around)]

    def _environment(self, asset: str) -> Environment:
        if asset not in self._environments:
            self._environments[asset] = load_environment(self._asset_path(asset))
        return self._environments[asset]


def _slices(length: int, num_parts: int) -> list[slice]:
    bounds = np.linspace(0, length, num_parts + 1).astype(int)
    return [slice(*ends) for ends in pairwise(bounds)]


def _between_pixels(camera: Camera) -> Camera:
    """A camera whose pixels' centres are the corners of a camera's pixels."""
    K = camera.K.copy()
    K[:2, 2] += 0.5
    return Camera(camera.width + 1, camera.height + 1, K, camera.cam_from_world)


def _casters(surfaces: Surfaces) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, 3] round what casts shadows near the subjects, and the triangles [M] that reach far away from them."""
    first_thing = surfaces.triangles[surfaces.instances > 0].max() + 1  # subjects come first
    subjects = surfaces.vertices[:first_thing:8]  # their neighbours are near
    points = np.concatenate([subjects, surfaces.vertices[first_thing:]])
    near = points[(np.abs(points - subjects.mean(axis=0)) < _SHADOWS_M).all(axis=1)]
    of_things = np.flatnonzero(surfaces.instances == 0)
    away = np.abs(surfaces.corners[of_things] - subjects.mean(axis=0)) >= _SHADOWS_M
    return near, of_things[away.any(axis=(1, 2))]


def _seen(sight: Sight, camera: Camera, chosen: np.ndarray) -> tuple[Seen, np.ndarray]:
    """What chosen pixels [N], counted row by row, see, and how much of each lamp's light [N, L] arrives there."""
    row, column = np.divmod(chosen, camera.width)
    directions = pixel_directions(camera, np.stack([column + 0.5, row + 0.5], axis=1))
    looked = (sight.triangle, sight.depth_m, sight.weights, sight.lit)
    triangle, depth_m, weights, lit = (
        whole.reshape(camera.width * camera.height, *whole.shape[2:])[chosen] for whole in looked
    )
    return Seen(triangle, depth_m, weights, directions), lit


def _edges(surfaces: Surfaces, sight: Sight) -> np.ndarray:
    """[H, W] bool: pixels that border on another material, or on a subject on a jump in depth."""
    material = np.where(sight.triangle >= 0, surfaces.material[sight.triangle], -1)
    on_subject = (sight.triangle >= 0) & (surfaces.instances[sight.triangle] > 0)
    depth_m = np.where(on_subject, sight.depth_m, 0)
    edges = np.zeros(material.shape, dtype=bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (material[here] != material[there]) | (np.abs(depth_m[here] - depth_m[there]) > _EDGE_M)
        edges[here] |= differ
        edges[there] |= differ
    return edges


def _smooth(picture: np.ndarray, edges: np.ndarray, needed: np.ndarray, radiance: np.ndarray) -> None:
    """Mix, in place, the pixels of a picture [H, W, 3] where `edges` is true half and half with their corners, of which
    `radiance` [N, 3] tells those that are needed [H + 1, W + 1]."""
    corners = np.zeros((*needed.shape, 3), dtype=np.float32)
    corners[needed] = radiance
    rows, columns = np.nonzero(edges)
    around = sum(corners[rows + row, columns + column] for row, column in np.ndindex(2, 2))
    picture[rows, columns] = picture[rows, columns] / 2 + around / 8


def _about_z(angle_rad: float) -> np.ndarray:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=np.float32)


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
        return _Lamp(direction.astype(np.float32), irradiance, 0.0)
    return _Lamp((middle + spec.distance_m * direction).astype(np.float32), irradiance, spec.distance_m)


def _at(seen: Seen, index: np.ndarray) -> Seen:
    return Seen(seen.triangle[index], seen.depth_m[index], seen.weights[index], seen.directions[index])


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nc,nc->n", first, second)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(_dot(vectors, vectors), 1e-20))
