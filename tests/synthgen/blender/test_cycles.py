"""Real Blender renders, few and small: pixels against geometry."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posecore.camera import unproject
from posecore.codec import decode
from posecore.dataset import iterate_dataset
from posecore.errors import UserError
from posecore.sample import Sample
from synthgen import catalog
from synthgen.datasets.sample_checks import sample_problems
from synthgen.engines import opening
from synthgen.engines.opening import open_renderer
from synthgen.engines.surfaces import pixel_centres, pixel_directions
from synthgen.labels import label
from synthgen.library import SubjectLibrary
from synthgen.rays import RayMesh, split_quads
from synthgen.recipe import Recipe, load_recipe
from synthgen.renderer import Passes
from synthgen.sampling.scene import sample_scene
from synthgen.stage import Stage, build_stage

pytestmark = pytest.mark.blender
pytest.importorskip("bpy", reason="Blender's bpy is not installed")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("humans_dr", ("image.width=128", "image.height=96", "engine.samples=2", "world.occluders=0"))


@pytest.fixture(scope="module")
def rendered(recipe: Recipe, library: SubjectLibrary) -> list[tuple[Stage, Passes]]:
    """Four scenes, rendered one after the other by one engine, so that nothing of a scene may leak into the next."""
    renderer = open_renderer(recipe.engine, catalog.asset_path, threads=2)
    results = []
    for scene in (0, 1, 2, 0):
        stage = build_stage(sample_scene(recipe, scene, library.clip_durations_s), library)
        renderer.set_stage(stage)
        renderer.render(1, 0)
        results.append((stage, renderer.render(0, 0)))
    renderer.close()
    return results


def test_rendering_a_scene_again_gives_the_same_bits(rendered: list[tuple[Stage, Passes]]) -> None:
    first, again = rendered[0][1], rendered[3][1]
    for name in ("radiance", "instances", "depth_m", "parts", "normals"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_masks_agree_with_silhouettes_from_the_same_geometry(rendered: list[tuple[Stage, Passes]]) -> None:
    for stage, passes in rendered:
        subject, seen = stage.subjects[0][0], passes.instances > 0
        camera, mesh = stage.cameras[0], RayMesh(subject.vertices, split_quads(subject.faces)[0])
        directions = pixel_directions(camera, pixel_centres(camera))
        hits = mesh.first_hits(camera.position_world, directions.reshape(-1, 3))
        silhouette = np.isfinite(hits.distance).reshape(seen.shape)
        assert overlap(silhouette, seen) > 0.99
        for axis in (0, 1):
            for pixels in (-1, 1):  # a wrong camera would make one of them fit as well
                assert overlap(silhouette, np.roll(seen, pixels, axis)) < overlap(silhouette, seen) - 0.02


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union."""
    return (first & second).sum() / (first | second).sum()


def test_depth_is_planar_metres_at_pixel_centres(rendered: list[tuple[Stage, Passes]]) -> None:
    for stage, passes in rendered:
        camera = stage.cameras[0]
        floor = next((thing for thing in stage.things if thing.name == "floor"), None)
        if floor is None:
            continue
        row, column = np.nonzero((passes.instances == 0) & np.isfinite(passes.depth_m))
        pixels = np.stack([column + 0.5, row + 0.5], axis=1)
        points = unproject(camera.K, pixels, passes.depth_m[row, column])
        world = (points - camera.cam_from_world[:3, 3]) @ camera.cam_from_world[:3, :3]
        on_floor = passes.normals[row, column, 2] > 0.999
        on_floor &= np.abs(world[:, 2]) < 0.5
        assert on_floor.sum() > 100
        assert np.median(np.abs(world[on_floor, 2])) < 0.002


def test_labelled_samples_are_sound(rendered: list[tuple[Stage, Passes]], recipe: Recipe) -> None:
    for stage, passes in rendered:
        sample: Sample = label(stage, passes, 0, 0, recipe, {"recipe_hash": recipe.hash})
        assert sample_problems(sample) == []
        assert sample.image.std() > 8 and 20 < sample.image.mean() < 235


def test_parts_lie_within_the_subject(rendered: list[tuple[Stage, Passes]]) -> None:
    for stage, passes in rendered:
        assert ((passes.parts > 0) == (passes.instances > 0)).all()
        names = stage.subjects[0][0].part_names
        assert "skin" in {names[index - 1] for index in np.unique(passes.parts) if index}


@pytest.mark.slow
def test_eevee_on_a_software_driver_shows_what_cycles_shows_where_cycles_shows_it(tmp_path: Path) -> None:
    samples = {}
    for engine in ("cycles", "eevee"):
        settings = [f"engine.name={engine}", "engine.device=cpu", "image.width=128", "image.height=96", "seed=3"]
        settings += ["frames_per_scene=1", "sensor.blur_px=0", "sensor.noise=0", "image.format=png"]
        options = [part for setting in settings for part in ("--set", setting)]
        command = [
            sys.executable,
            "-m",
            "synthgen",
            "render",
            "--recipe",
            "humans_dr",
            "--count",
            "1",
            "--workers",
            "1",
        ]
        subprocess.run([*command, "--out", str(tmp_path / engine), *options], check=True)
        samples[engine] = next(decode(members) for _, members in iterate_dataset(tmp_path / engine))
    eevee, cycles = samples["eevee"], samples["cycles"]
    assert overlap(eevee.mask > 0, cycles.mask > 0) > 0.99

    def likeness(pixels: int, axis: int) -> float:
        return np.corrcoef(np.roll(eevee.image, pixels, axis).ravel(), cycles.image.ravel())[0, 1]

    assert likeness(0, 0) > 0.9
    for axis in (0, 1):
        for pixels in (-1, 1):
            assert likeness(pixels, axis) < likeness(0, 0)


def test_eevee_without_a_gpu_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "opengl_driver", lambda: "llvmpipe (LLVM 15.0.6, 256 bits)")
    engine = load_recipe("humans_dr", ("engine.name=eevee",)).engine
    with pytest.raises(UserError, match=r"finds no GPU here, only llvmpipe .* set engine\.device to cpu"):
        open_renderer(engine, catalog.asset_path, threads=1)
