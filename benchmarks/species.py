"""A sheet of every species, standing, from the side and beside it with its skeleton; and of random animals.

python benchmarks/species.py --out species.png                       # all of assets/species.yaml, with their own coats
python benchmarks/species.py --random 64 --out animals.png           # quadrupeds.yaml as it comes
python benchmarks/species.py --engine cycles --size 320 --out species.png
"""

import argparse
from pathlib import Path

import numpy as np

from posecore.codec import encode_image
from posecore.overlay import contact_sheet
from posecore.sample import Sample
from synthgen.catalog import asset_path, load_library
from synthgen.datasets.preview import draw_sample
from synthgen.engines.opening import open_renderer
from synthgen.recipe import Recipe, load_recipe
from synthgen.shards import current_versions, render_scene
from synthgen.subjects.animals.species import species

# A specimen: nothing around it, nothing varied, a standing animal seen from its left.
_SPECIMEN = (
    "frames_per_scene=1", "group.count=1", "subject.build_sigma=0", "subject.between_species=0",
    "subject.ear_flop_varies=0", "subject.pose.actions=stand", "subject.pose.blended=0", "subject.pose.raised_leg=0",
    "subject.pose.jitter_deg=0", "subject.pose.head_yaw_deg=0", "subject.pose.head_pitch_deg=0",
    "subject.pose.tail_lift_deg=0", "subject.pose.tail_swing_deg=0", "subject.pose.spine_bend_deg=0",
    "subject.pose.mouth_open=0", "subject.pose.step_m=0", "world.clutter=0", "world.occluders=0", "world.wall=0",
    "world.hdri=sky/overcast", "world.hdri_strength=1", "camera.azimuth_deg=90", "camera.elevation_deg=4",
    "camera.roll_deg=0", "camera.fov_deg=20", "camera.fill=0.85", "camera.shift=0", "sensor.exposure_ev=-0.3",
    "sensor.white_balance=0", "sensor.contrast=1", "sensor.blur_px=0", "sensor.noise=0", "sensor.vignette=0",
    "sensor.shake_px=0", "sensor.greyscale=0", "sensor.compressed=0", "lights.count=0",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--random", type=int, default=0, help="so many random animals instead of the species")
    parser.add_argument("--recipe", default="quadrupeds")
    parser.add_argument("--engine", default="pyrender", choices=("pyrender", "cycles", "painter"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--columns", type=int, default=8)
    arguments = parser.parse_args()
    size = (f"image.width={arguments.size}", f"image.height={arguments.size}", f"engine.name={arguments.engine}")
    tiles, names = [], []
    if arguments.random:
        recipe = load_recipe(arguments.recipe, (*size, "frames_per_scene=1"))
        for scene, sample in _render(recipe, range(arguments.random)):
            tiles.append(sample.image)
            names.append(f"{scene} {sample.subjects[0].species}")
    else:
        for name, kind in species().items():
            recipe = load_recipe(arguments.recipe, (*size, *_SPECIMEN, f"subject.species={name}"))
            ((_, sample),) = _render(recipe, range(1))
            tiles += [sample.image, draw_sample(sample, arguments.size)]
            names += [name, f"base: {kind.shape.base}"]
    sheet = contact_sheet(tiles, arguments.columns, labels=names)
    image_format = "jpg" if arguments.out.suffix.lower() in (".jpg", ".jpeg") else "png"
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(encode_image(np.asarray(sheet), image_format, 90))
    print(f"wrote {arguments.out}")


def _render(recipe: Recipe, scenes: range) -> list[tuple[int, Sample]]:
    """The first sample of each scene."""
    library = load_library(recipe)
    renderer = open_renderer(recipe.engine, asset_path, 1)
    versions = current_versions(renderer.name, renderer.version)
    try:
        samples = []
        for scene in scenes:
            rendered, _ = render_scene(scene, recipe, library, renderer, versions)
            samples.append((scene, rendered[0]))
        return samples
    finally:
        renderer.close()


if __name__ == "__main__":
    main()
