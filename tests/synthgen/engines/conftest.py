"""What tests of shading look at: a few triangles of one material under a light of their own."""

from collections.abc import Callable

import numpy as np
import pytest

from posecore.camera import Camera, look_at
from synthgen.engines.environment import split_light
from synthgen.engines.opengl import Light, Shaded, open_graphics, silenced
from synthgen.engines.surfaces import Covering, Surfaces
from synthgen.scene import Material

WHITE = Material("plain", ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), 1.0, (0.0, 0.0, 0.0), 1.0)
View = Callable[..., tuple[np.ndarray, Shaded]]


@pytest.fixture
def view_triangles() -> View:
    """Looks at triangles; see `_view`."""
    return _view


@pytest.fixture
def view_square() -> Callable[..., np.ndarray]:
    """The picture of a square that fills it; see `_view_square`."""
    return _view_square


def _view(
    camera: Camera,
    vertices: np.ndarray,
    triangles: np.ndarray,
    sky: np.ndarray,
    material: Material = WHITE,
    places: np.ndarray | None = None,
    lamp: tuple[float, ...] | None = None,
    casters: np.ndarray | None = None,
    large: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    texture: np.ndarray | None = None,
    painting: np.ndarray | None = None,
) -> tuple[np.ndarray, Shaded]:
    """The triangles that pixels' centres see, row by row, and what is seen there.

    Args:
        places: of the vertices in the material. lamp: place or direction, as in `Light`, of irradiance 1 for directions
            and wherever a surface is as far away as the world's origin.
        uv: [T, 3, 2] of the triangles' corners, in the material's texture and in its painting.
    """
    zeros = np.zeros(len(triangles), np.uint8)
    uv = np.zeros((len(triangles), 3, 2), np.float32) if uv is None else uv
    covering = Covering(
        triangles=triangles.astype(np.int32),
        num_of_bodies=0,
        place=vertices if places is None else places,
        tint=np.ones_like(vertices),
        instances=zeros,
        parts=zeros,
        material=zeros.astype(np.int32),
        uv=uv,
        painting_uv=uv,
        materials=(material,),
        flat=np.array([True]),
        paintings=(painting,),
        thing_vertices=vertices,
        thing_normals=vertices,
    )
    lamps = np.array([lamp] if lamp else []).reshape(-1, 4)
    reach_m = np.linalg.norm(lamps[:, :3], axis=1) * lamps[:, 3]
    with silenced():
        graphics = open_graphics()
        picture = graphics.upload(sky.astype(np.float32), clamp_rows=True)
        light = Light(
            sky=picture,
            sky_from_world=np.eye(3),
            sky_strength=1.0,
            harmonics=split_light(sky.astype(np.float32)).harmonics,
            lamp_places=lamps,
            lamp_irradiances=np.column_stack([np.ones((len(lamps), 3)), reach_m]),
            casters=vertices if casters is None else casters,
            large=np.zeros((0, 3, 3)) if large is None else large,
        )
        textures = {} if texture is None else {material.texture: graphics.upload(texture)}
        graphics.load(Surfaces(covering, vertices, vertices), textures)
        found = graphics.find(camera)
        graphics.light(light)
        rows, columns = (2 * places.ravel() + 1 for places in np.indices((camera.height, camera.width)))
        shaded = graphics.shade(found, rows, columns)
        graphics.forget([picture, *textures.values()])
    return found[rows, columns], shaded


def _view_square(
    sky: np.ndarray,
    material: Material = WHITE,
    towards: tuple[float, float, float] = (0.0, -1.0, 0.0),
    places: np.ndarray | None = None,
    footprint_m: float = 1e-4,
    **pictures: np.ndarray,
) -> np.ndarray:
    """[64, 64, 3] linear radiance of a square that faces `towards`, by a camera 1 m away.

    Args:
        places: [4, 3] of the square's corners in the material: top left, top right, bottom right, bottom left.
        footprint_m: what a pixel covers of it.
        pictures: uv, texture and painting of `_view`; the square's triangles are corners 0, 1, 2 and 0, 2, 3.
    """
    eye = np.asarray(towards) / np.linalg.norm(towards)
    K = np.array([[1 / footprint_m, 0, 32], [0, 1 / footprint_m, 32], [0, 0, 1]])
    camera = Camera(64, 64, K, look_at(eye, np.zeros(3)))
    corners = 32 * footprint_m * np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = (1.001 * corners @ camera.cam_from_world[:3, :3]).astype(np.float32)
    triangle, shaded = _view(camera, vertices, np.array([[0, 1, 2], [0, 2, 3]]), sky, material, places, **pictures)
    assert (triangle >= 0).all()
    return shaded.radiance.reshape(64, 64, 3)
