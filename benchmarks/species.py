"""A sheet of every species, standing, from the side and beside it with its skeleton; and of random animals.

python benchmarks/species.py --out species.png                       # all of assets/species.yaml, with their own coats
python benchmarks/species.py --random 64 --out animals.png           # quadrupeds.yaml as it comes
python benchmarks/species.py --check                                 # are all joints inside the silhouettes?
The sheets in the README:
python benchmarks/species.py --engine cycles --size 208 --quality 82 --out docs/img/species.jpg
python benchmarks/species.py --engine cycles --size 208 --quality 82 --random 64 --out docs/img/animals64.jpg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from posecore.codec import encode_image
from posecore.overlay import contact_sheet, draw_skeleton
from posecore.sample import Sample
from posecore.skeleton import load_skeleton
from synthgen.catalog import asset_path, load_library
from synthgen.engines.opening import open_renderer
from synthgen.recipe import Recipe, load_recipe
from synthgen.shards import current_versions, render_scene
from synthgen.subjects.animals.species import species

# A specimen: nothing around it, nothing varied, a standing animal seen from its left.
_SPECIMEN = (
    "frames_per_scene=1", "group.count=1", "subject.build_sigma=0", "subject.between_species=0",
    "subject.ear_flop_varies=0", "subject.coat.typical=1", "subject.pose.actions=stand", "subject.pose.blended=0",
    "subject.pose.raised_leg=0", "subject.pose.jitter_deg=0", "subject.pose.head_yaw_deg=0",
    "subject.pose.head_pitch_deg=0", "subject.pose.tail_lift_deg=0", "subject.pose.tail_swing_deg=0",
    "subject.pose.spine_bend_deg=0", "subject.pose.mouth_open=0", "subject.pose.step_m=0", "world.clutter=0",
    "world.occluders=0", "world.floor=1", "world.floor_surface.pattern=plain", "world.floor_surface.palette=beige",
    "world.wall=1", "world.wall_distance_m=4", "world.wall_turn_deg=0", "world.wall_surface.pattern=plain",
    "world.wall_surface.palette=grey", "world.hdri=sky/overcast", "world.hdri_strength=1", "lights.count=1",
    "lights.kind=sun", "lights.azimuth_deg=40", "lights.elevation_deg=55", "lights.strength=0.5", "lights.tint=0",
    "camera.azimuth_deg=90", "camera.elevation_deg=4", "camera.roll_deg=0", "camera.fov_deg=20", "camera.fill=0.9",
    "camera.shift=0", "sensor.exposure_ev=0.2", "sensor.white_balance=0", "sensor.contrast=1", "sensor.blur_px=0",
    "sensor.noise=0", "sensor.vignette=0", "sensor.shake_px=0", "sensor.greyscale=0", "sensor.compressed=0",
)  # fmt: skip
_CHECKED_AZIMUTHS_DEG = (0, 60, 90, 180, -60, -90)
_MOST_OFF = 0.01  # of the picture's size: how far outside the silhouette a joint may lie, which is a pixel or two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the sheet, .png or .jpg")
    parser.add_argument("--check", action="store_true", help="exit 1 if joints lie outside their species' silhouette")
    parser.add_argument("--random", type=int, default=0, help="so many random animals instead of the species")
    parser.add_argument("--recipe", default="quadrupeds")
    parser.add_argument("--engine", default="pyrender", choices=("pyrender", "cycles", "painter"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--quality", type=int, default=90, help="of a JPEG")
    arguments = parser.parse_args()
    if arguments.out is None and not arguments.check:
        parser.error("name what is to be made: --out SHEET, or --check")
    size = (f"image.width={arguments.size}", f"image.height={arguments.size}", f"engine.name={arguments.engine}")
    if arguments.check:
        problems = [line for name in species() for line in _off_silhouette(name, arguments.recipe, size)]
        print("\n".join(problems) or f"all joints of {len(species())} species lie inside their silhouettes")
        sys.exit(1 if problems else 0)
    tiles, names = [], []
    if arguments.random:
        recipe = load_recipe(arguments.recipe, (*size, "frames_per_scene=1"))
        for scene, sample in _render(recipe, range(arguments.random)):
            tiles.append(sample.image)
            names.append(f"{scene} {sample.subjects[0].species}")
    else:
        for number, (name, kind) in enumerate(species().items()):
            recipe = load_recipe(arguments.recipe, (*size, *_SPECIMEN, f"subject.species={name}"))
            ((_, sample),) = _render(recipe, [number])  # each scene draws another of the species' coats
            (animal,) = sample.subjects
            thickness = max(1, arguments.size // 90)
            skeleton = load_skeleton(animal.skeleton)
            tiles += [
                sample.image,
                draw_skeleton(sample.image, animal.joints_px, skeleton, animal.visibility, thickness),
            ]
            names += [name, f"base: {kind.shape.base}"]
    sheet = contact_sheet(tiles, arguments.columns, labels=names)
    image_format = "jpg" if arguments.out.suffix.lower() in (".jpg", ".jpeg") else "png"
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(encode_image(np.asarray(sheet), image_format, arguments.quality))
    print(f"wrote {arguments.out}")


def _off_silhouette(name: str, recipe_name: str, size: Sequence[str]) -> list[str]:
    """A line for each joint that lies outside the mask of its species, from each of the checked directions."""
    problems = []
    for azimuth_deg in _CHECKED_AZIMUTHS_DEG:
        seen_from = (f"subject.species={name}", f"camera.azimuth_deg={azimuth_deg}")
        ((_, sample),) = _render(load_recipe(recipe_name, (*size, *_SPECIMEN, *seen_from)), range(1))
        (animal,) = sample.subjects
        ys, xs = np.nonzero(sample.mask == animal.id)
        off_px, _ = cKDTree(np.column_stack([xs, ys]) + 0.5).query(animal.joints_px)
        for joint, off in zip(load_skeleton(animal.skeleton).joints, off_px, strict=True):
            if off > max(1.5, _MOST_OFF * sample.mask.shape[1]):
                problems.append(f"{name}, seen from {azimuth_deg} degrees: {joint} lies {off:.1f} px outside")
    return problems


def _render(recipe: Recipe, scenes: Sequence[int]) -> list[tuple[int, Sample]]:
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
