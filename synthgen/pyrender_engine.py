"""The `pyrender` engine: fast pictures from the same stage and with the same labels as Blender's.

OpenGL tells which triangle each place of the picture sees; what lies there follows from the exact geometry in numpy, so
masks and depth are those of pixel centres. Light: lamps and the environment's key light with hard shadows, by rays; the
rest of the environment without shadows; no light from surface to surface, no relief. Pictures are anti-aliased where
what is seen changes within a pixel.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from posecore.camera import Camera
from synthgen.environment import Environment, irradiance_on, load_environment, radiance_from, sample_bilinear
from synthgen.patterns import linear_colour, material_colours
from synthgen.rays import RayMesh
from synthgen.renderer import Passes
from synthgen.scene import LightSpec
from synthgen.stage import Stage
from synthgen.surfaces import Seen, Surfaces, gather_surfaces, pixel_directions, shading_normals, to_passes
from synthgen.triangle_finder import TriangleFinder

_SUN_W_PER_M2 = 3.0  # irradiance of LightSpec.strength 1, as in Blender
_EDGE_M = 0.04  # a step in depth on a subject that is an edge to smooth
_LIFT_M = 0.002  # shadow rays start off the surface by this much, and 0.1% of its distance
_MATT = 0.7  # roughness from which on there are no highlights
_GLANCING = 0.04  # share of light that a non-metal mirrors when seen straight on
_TENT = np.outer([1, 2, 1], [1, 2, 1]) / 16.0


class PyrenderRenderer:
    """Renders stages through pyrender's OpenGL; see `Renderer`.

    Args:
        asset_path: gives the file of an image asset (environment map, texture) by its id.
        threads: of a software OpenGL; 0 takes all cores.

    Raises:
        UserError: there is no OpenGL without a display here.
    """

    name = "pyrender"
    version = "1"

    def __init__(self, asset_path: Callable[[str], Path], threads: int = 0) -> None:
        self._asset_path = asset_path
        self._finder = TriangleFinder(threads)
        self._stage: Stage | None = None
        self._environments: dict[str, Environment] = {}
        self._textures: dict[str, np.ndarray] = {}

    def set_stage(self, stage: Stage) -> None:
        self._stage = stage

    def render(self, frame: int, view: int) -> Passes:
        assert self._stage is not None
        surfaces, camera = gather_surfaces(self._stage, frame), self._stage.cameras[view]
        triangle, rough_depth_m = self._finder.find(surfaces.vertices, surfaces.triangles, camera)
        edges = _edges(surfaces, triangle, rough_depth_m)
        needed = np.zeros(triangle.shape, dtype=bool)
        for row, column in np.ndindex(3, 3):
            needed[row : row + 2 * camera.height : 2, column : column + 2 * camera.width : 2] |= edges
        needed[1::2, 1::2] = True
        place = np.argwhere(needed)
        directions = pixel_directions(camera, place[:, ::-1] / 2)
        seen = _meet(surfaces, triangle[needed], camera, directions)
        normals = shading_normals(surfaces, seen)
        colours = np.zeros((*triangle.shape, 3), dtype=np.float32)
        colours[needed] = self._radiance(surfaces, seen, normals, camera)
        is_centre = (place % 2 == 1).all(axis=1)
        centre = Seen(*(part[is_centre] for part in (seen.triangle, seen.depth_m, seen.weights, seen.directions)))
        return to_passes(surfaces, centre, normals[is_centre], _smooth(colours, edges))

    def close(self) -> None:
        self._finder.close()

    def _radiance(self, surfaces: Surfaces, seen: Seen, normals: np.ndarray, camera: Camera) -> np.ndarray:
        """[N, 3] linear radiance towards the camera."""
        assert self._stage is not None
        spec = self._stage.spec
        environment = self._environment(spec.world.hdri)
        turn = _about_z(np.deg2rad(spec.world.turn_deg))  # into the map's own directions
        result = np.empty((len(seen.triangle), 3), dtype=np.float32)
        hit = seen.triangle >= 0
        result[~hit] = radiance_from(environment, seen.directions[~hit] @ turn.T) * spec.world.strength
        seen = Seen(*(part[hit] for part in (seen.triangle, seen.depth_m, seen.weights, seen.directions)))
        normals = normals[hit]
        colours, roughness = self._colours(surfaces, seen, normals, camera.K[0, 0])
        points = camera.position_world.astype(np.float32) + seen.directions * seen.depth_m[:, None]
        start = points + normals * (_LIFT_M + 0.001 * seen.depth_m[:, None])
        to_eye = -seen.directions / np.linalg.norm(seen.directions, axis=1, keepdims=True)
        casters = RayMesh(surfaces.vertices, surfaces.triangles)
        light = irradiance_on(environment, normals @ turn.T) * spec.world.strength
        mirrored = np.zeros_like(light)
        subjects = self._stage.subjects[0]
        middle = np.concatenate([subject.vertices for subject in subjects]).mean(axis=0)
        key = (environment.key_direction @ turn, environment.key_irradiance * spec.world.strength)
        lamps = [_sun(*key), *(_lamp(lamp, middle) for lamp in spec.lights)]
        for place, irradiance, distance_m in lamps:
            towards = place - points if distance_m else np.broadcast_to(place, points.shape)
            reach = np.linalg.norm(towards, axis=1)
            cosine = np.einsum("nc,nc->n", towards, normals) / reach
            lit = np.flatnonzero(cosine > 0)
            lit = lit[~casters.blocked(start[lit], towards[lit], 1.0 if distance_m else np.inf)]
            falloff = (distance_m / reach[lit]) ** 2 if distance_m else 1.0
            received = (cosine[lit] * falloff)[:, None] * irradiance
            light[lit] += received
            shiny = lit[roughness[lit] < _MATT]
            if len(shiny):
                half = towards[shiny] / reach[shiny, None] + to_eye[shiny]
                half /= np.linalg.norm(half, axis=1, keepdims=True)
                power = 2 / np.maximum(roughness[shiny], 0.1) ** 4 - 2  # Blinn-Phong as wide as that roughness
                lobe = np.maximum(np.einsum("nc,nc->n", half, normals[shiny]), 0) ** power * (power + 2) / 8
                mirrored[shiny] += _GLANCING * lobe[:, None] * received[roughness[lit] < _MATT]
        result[hit] = (colours * light + mirrored) / np.pi
        return result

    def _colours(
        self, surfaces: Surfaces, seen: Seen, normals: np.ndarray, focal_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Linear surface colours [N, 3] and roughness [N] of what is seen."""
        corners = surfaces.triangles[seen.triangle]
        facing = np.abs(np.einsum("nc,nc->n", seen.directions, normals)) / np.linalg.norm(seen.directions, axis=1)
        footprint_m = seen.depth_m / focal_px / np.maximum(facing, 0.05)
        material_of = surfaces.material[seen.triangle]
        order = np.argsort(material_of, kind="stable")
        colours = np.empty((len(corners), 3), dtype=np.float32)
        for index in np.split(order, np.flatnonzero(np.diff(material_of[order])) + 1):
            if not len(index):
                continue
            material = surfaces.materials[material_of[index[0]]]
            weights = seen.weights[index]
            if material.texture:
                uv = np.einsum("nk,nkc->nc", weights, surfaces.uv[seen.triangle[index]])
                colours[index] = self._sample(material.texture, uv) * linear_colour(material.colours[0])
            elif material.pattern == "plain":
                colours[index] = linear_colour(material.colours[0])
            else:
                rest = np.einsum("nk,nkc->nc", weights, surfaces.rest[corners[index]])
                colours[index] = material_colours(material, rest, footprint_m[index])
        roughness = np.array([material.roughness for material in surfaces.materials], dtype=np.float32)
        return colours, roughness[material_of]

    def _sample(self, texture: str, uv: np.ndarray) -> np.ndarray:
        """Linear colours [N, 3] of a texture at coordinates [N, 2], (0, 0) at the bottom left."""
        if texture not in self._textures:
            picture = cv2.imread(str(self._asset_path(texture)), cv2.IMREAD_COLOR)
            if picture is None:
                raise ValueError(f"{texture}: not a readable picture")
            self._textures[texture] = linear_colour(picture[..., ::-1] / np.float32(255))
        image = self._textures[texture]
        height, width = image.shape[:2]
        return sample_bilinear(image, uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5)

    def _environment(self, asset: str) -> Environment:
        if asset not in self._environments:
            self._environments[asset] = load_environment(self._asset_path(asset))
        return self._environments[asset]


def _meet(surfaces: Surfaces, triangle: np.ndarray, camera: Camera, directions: np.ndarray) -> Seen:
    """Where rays from the camera meet the planes of the triangles [N] that they are known to see."""
    a, b, c = (surfaces.vertices[surfaces.triangles[triangle][:, k]] for k in range(3))
    ab, ac, to_eye = b - a, c - a, camera.position_world.astype(np.float32) - a
    across = np.cross(ab, ac)
    along = -np.einsum("nc,nc->n", directions, across)
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    depth_m = np.einsum("nc,nc->n", to_eye, across) / along
    turned = np.cross(to_eye, directions)
    v = np.einsum("nc,nc->n", ac, turned) / along
    w = -np.einsum("nc,nc->n", ab, turned) / along
    # a rasteriser's corners are rounded to a fraction of a place, so a ray may just miss
    weights = np.clip(np.stack([1 - v - w, v, w], axis=1), 0, 1)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    return Seen(triangle, np.where(triangle >= 0, depth_m, np.float32(np.inf)), weights, directions)


def _edges(surfaces: Surfaces, triangle: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels within which the material seen changes, or a subject's depth jumps."""
    material = np.where(triangle >= 0, surfaces.material[triangle], -1).astype(np.int16)
    on_subject = (np.where(triangle >= 0, surfaces.instances[triangle], 0) > 0)[1::2, 1::2]
    kernel = np.ones((3, 3), np.uint8)

    def spread(values: np.ndarray) -> np.ndarray:
        return (cv2.dilate(values, kernel) - cv2.erode(values, kernel))[1::2, 1::2]

    return (spread(material) > 0) | (on_subject & (spread(depth_m) > _EDGE_M))


def _smooth(colours: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[H, W, 3] from places half a pixel apart: a tent of one pixel's reach on edges, the centre elsewhere."""
    picture = np.ascontiguousarray(colours[1::2, 1::2])
    rows, columns = np.nonzero(edges)
    total = np.zeros((len(rows), 3), dtype=np.float32)
    for row, column in np.ndindex(3, 3):
        total += _TENT[row, column] * colours[2 * rows + row, 2 * columns + column]
    picture[rows, columns] = total
    return picture


def _about_z(angle_rad: float) -> np.ndarray:
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=np.float32)


def _sun(direction: np.ndarray, irradiance: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A light from infinitely far: direction, irradiance, and 0 for its distance."""
    return direction.astype(np.float32), irradiance.astype(np.float32), 0.0


def _lamp(spec: LightSpec, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A lamp's place (a sun's direction), its irradiance at the subjects, and its distance from them (a sun's is 0)."""
    azimuth, elevation = np.deg2rad(spec.azimuth_deg), np.deg2rad(spec.elevation_deg)
    direction = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    irradiance = _SUN_W_PER_M2 * spec.strength * linear_colour(spec.colour)
    if spec.kind == "sun":
        return _sun(direction, irradiance)
    return (middle + spec.distance_m * direction).astype(np.float32), irradiance, spec.distance_m
