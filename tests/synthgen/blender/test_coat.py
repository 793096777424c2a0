"""What is painted on an animal lies in Blender's pictures where engines without Blender put it."""

from dataclasses import replace

import numpy as np
import pytest

from synthgen import catalog
from synthgen.engines.opening import open_renderer
from synthgen.engines.painter import PainterRenderer
from synthgen.recipe import load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.stage import build_stage

pytestmark = pytest.mark.blender
pytest.importorskip("bpy", reason="Blender's bpy is not installed")

CHANGES = (
    "image.width=128", "image.height=128", "engine.samples=4", "group.count=1", "frames_per_scene=1",
    "subject.coat.typical=1", "world.occluders=0", "camera.fill=0.9", "camera.shift=0",
)  # fmt: skip


@pytest.mark.parametrize("species", ["zebra", "tiger"])  # of four-sided and of three-sided faces
def test_light_and_dark_markings_lie_where_the_painter_has_them(species: str) -> None:
    recipe = load_recipe("quadrupeds", (*CHANGES, f"subject.species={species}", "subject.coat.photo=0"))
    library = catalog.load_library(recipe)
    spec = sample_scene(recipe, 3, {})
    (animal,) = spec.subjects
    black_on_white = replace(animal.coat, base=(0.9, 0.9, 0.9), under=(), over=())
    spec = replace(spec, subjects=(replace(animal, coat=black_on_white),), lights=())
    spec = replace(spec, cameras=(replace(spec.cameras[0], azimuth_deg=90.0, elevation_deg=5.0),))
    stage = build_stage(spec, library)
    blender = open_renderer(recipe.engine, catalog.asset_finder(recipe), threads=2)
    pictures = []
    for renderer in (blender, PainterRenderer()):
        renderer.set_stage(stage)
        pictures.append(renderer.render(0, 0))
        renderer.close()
    seen = (pictures[0].instances == 1) & (pictures[1].instances == 1)
    assert seen.sum() > 1000
    tones = np.log([picture.radiance[seen].mean(1) + 0.01 for picture in pictures])
    assert np.corrcoef(tones)[0, 1] > 0.7
