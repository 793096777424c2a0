"""The pyrender engine against rays through the same geometry, and against Blender."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from posecore.camera import Camera, look_at
from posecore.errors import UserError
from synthgen import catalog
from synthgen.datasets.validate import sample_problems
from synthgen.engines import opengl, pyrender_engine
from synthgen.engines.opening import open_renderer
from synthgen.engines.painter import PainterRenderer
from synthgen.engines.patterns import linear_colour
from synthgen.engines.surfaces import pixel_centres, pixel_directions, sample_texture
from synthgen.labels import label
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.renderer import Passes, Renderer
from synthgen.sampling.scene import sample_scene
from synthgen.scene import Material
from synthgen.stage import Stage, build_stage

TEXTURED = Material("plain", ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), 1.0, (0.0, 0.0, 0.0), 1.0, texture="picture")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    size = ("image.width=160", "image.height=120")
    return load_recipe("humans_dr", ("engine.name=pyrender", "world.occluders=1", "group.count=2", *size))


@pytest.fixture(scope="module")
def stages(recipe: Recipe, library: SubjectLibrary) -> list[Stage]:
    return [build_stage(sample_scene(recipe, scene, library.clip_durations_s), library) for scene in (0, 1, 2)]


def views(renderer: Renderer, stages: list[Stage]) -> list[Passes]:
    passes = []
    for stage in stages:
        renderer.set_stage(stage)
        passes.append(renderer.render(0, 0))
    renderer.close()
    return passes


@pytest.fixture(scope="module")
def rendered(recipe: Recipe, stages: list[Stage]) -> list[Passes]:
    return views(open_renderer(recipe.engine, catalog.asset_path, threads=1), stages)


def test_passes_are_those_of_rays_through_pixel_centres(rendered: list[Passes], stages: list[Stage]) -> None:
    for ours, cast in zip(rendered, views(PainterRenderer(), stages), strict=True):
        assert (ours.instances == cast.instances).mean() > 0.9995
        assert (ours.parts == cast.parts).mean() > 0.999
        assert (np.isfinite(ours.depth_m) == np.isfinite(cast.depth_m)).mean() > 0.9995
        both = (ours.instances == cast.instances) & np.isfinite(ours.depth_m) & np.isfinite(cast.depth_m)
        assert np.quantile(np.abs(ours.depth_m[both] - cast.depth_m[both]), 0.995) < 0.001
        assert np.quantile((ours.normals * cast.normals).sum(axis=2)[both], 0.005) > 0.99


def test_rendering_again_gives_the_same_bits(rendered: list[Passes], recipe: Recipe, stages: list[Stage]) -> None:
    again = views(open_renderer(recipe.engine, catalog.asset_path, threads=2), stages[::-1])[::-1]
    for first, second in zip(rendered, again, strict=True):
        for name in ("radiance", "instances", "depth_m", "parts", "normals"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_renderers_may_live_beside_one_another_and_outlive_each_other(recipe: Recipe, stages: list[Stage]) -> None:
    first, second = (open_renderer(recipe.engine, catalog.asset_path, threads=1) for _ in range(2))
    first.set_stage(stages[0])
    expected = first.render(0, 0)
    first.close()
    del first
    second.set_stage(stages[0])
    np.testing.assert_array_equal(second.render(0, 0).radiance, expected.radiance)


@pytest.mark.parametrize("lamp", [(0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 1000.0, 1.0)], ids=["direction", "place"])
@pytest.mark.parametrize("exactly", [False, True], ids=["by depth map", "exactly"])
def test_a_square_shades_the_floor_below_it(lamp: tuple[float, ...], exactly: bool, view_triangles: Callable) -> None:
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=np.float32)
    vertices = np.concatenate([30 * square, 0.5 * square + np.float32([0, 0, 1])])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    eye = np.array([0.0, -4.0, 0.8])
    camera = Camera(64, 48, np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]), look_at(eye, np.zeros(3)))
    large = vertices[triangles[2:]] if exactly else None
    triangle, shaded = view_triangles(
        camera, vertices, triangles, np.zeros((32, 64, 3)), lamp=lamp, casters=vertices[4:], large=large
    )
    floor = (triangle == 0) | (triangle == 1)
    directions = pixel_directions(camera, pixel_centres(camera)).reshape(-1, 3)
    away = np.abs((eye + directions * shaded.depth_m[:, None])[floor][:, :2]).max(axis=1)
    lit = shaded.radiance[floor] * np.pi
    assert (lit[away < 0.47] == 0).all() and (away < 0.47).sum() > 20
    np.testing.assert_allclose(lit[(away > 0.53) & (away < 10)], 1, rtol=1e-3)


def test_textures_and_paintings_lie_where_their_coordinates_say(view_square: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    painting = rng.uniform(0, 1, (6, 4, 3)).astype(np.float32)
    corners = np.float32([[0.1, 0.9], [1.8, 0.9], [1.8, 0.2], [0.1, 0.2]])  # (0, 0) is at the bottom left; it repeats
    across = np.interp((np.arange(64) + 0.5) / 64, [0, 1], [0.1, 1.8])
    down = np.interp((np.arange(64) + 0.5) / 64, [0, 1], [0.9, 0.2])
    places = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    textured = sample_texture(linear_colour(texture / 255), places)
    painted = sample_texture(painting, places)
    sky, uv = np.ones((32, 64, 3)), corners[np.array([[0, 1, 2], [0, 2, 3]])]
    for expected, pictures in (
        (painted, {"painting": painting}),
        (textured, {"texture": texture, "material": TEXTURED}),
        (textured * painted, {"texture": texture, "material": TEXTURED, "painting": painting}),
    ):
        shown = view_square(sky, uv=uv, **pictures).reshape(-1, 3)
        np.testing.assert_allclose(shown, expected, atol=0.03)  # the square is a little larger than the picture


def test_a_scene_without_strong_lamps_renders(
    recipe: Recipe, stages: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyrender_engine, "_FAINT", 2.0)  # the brightest lamp is faint, too
    (passes,) = views(open_renderer(recipe.engine, catalog.asset_path, threads=1), stages[:1])
    assert np.isfinite(passes.radiance).all()


def test_labelled_samples_are_sound(rendered: list[Passes], recipe: Recipe, stages: list[Stage]) -> None:
    for stage, passes in zip(stages, rendered, strict=True):
        sample = label(stage, passes, 0, 0, recipe, {"recipe_hash": recipe.hash})
        assert sample_problems(sample) == []
        assert sample.image.std() > 8 and 20 < sample.image.mean() < 235


def test_silhouettes_are_smooth_in_the_picture_but_not_in_the_mask(rendered: list[Passes]) -> None:
    for passes in rendered:
        assert np.isfinite(passes.radiance).all() and passes.radiance.min() >= 0
        lengths = np.linalg.norm(passes.normals, axis=2)
        assert np.allclose(lengths[np.isfinite(passes.depth_m)], 1, atol=1e-4)
        assert set(np.unique(passes.instances)) <= {0, 1, 2}


def test_without_its_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    with pytest.raises(UserError, match=r"no libEGL\.so\.1 here.* on Debian or Ubuntu install libegl1"):
        opengl.open_graphics.__wrapped__()  # past the context that this process has open


@pytest.mark.blender
def test_masks_and_depth_agree_with_blender(rendered: list[Passes], recipe: Recipe, stages: list[Stage]) -> None:
    cycles = load_recipe("humans_dr", ("engine.samples=1", "engine.denoise=false")).engine
    for ours, blender in zip(
        rendered, views(open_renderer(cycles, catalog.asset_path, threads=2), stages), strict=True
    ):
        for subject in (1, 2):
            first, second = ours.instances == subject, blender.instances == subject
            assert (first & second).sum() >= 0.97 * (first | second).sum()
            both = first & second
            if both.any():
                assert np.quantile(np.abs(ours.depth_m[both] - blender.depth_m[both]), 0.99) < 0.01
                assert (ours.parts == blender.parts)[both].mean() > 0.99
