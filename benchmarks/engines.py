"""Whether engines agree, and what each costs: masks, depth and parts against Cycles on the same specs, and images/s.

python benchmarks/engines.py                              # pyrender against cycles, 30 scenes at 256 x 256
python benchmarks/engines.py --engine eevee --scenes 5    # where there is a GPU
python benchmarks/engines.py --memory-frames 1000         # also whether the engine's process grows
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in a render worker; numpy reads it once

import argparse
import time
from pathlib import Path

import numpy as np

from posecore.codec import encode
from synthgen.catalog import asset_path, load_library
from synthgen.engines.opening import open_renderer
from synthgen.labels import label
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.renderer import Passes, Renderer
from synthgen.sampling.scene import sample_scene
from synthgen.stage import Stage, build_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="humans_dr")
    parser.add_argument("--engine", default="pyrender", choices=("pyrender", "eevee", "painter"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--memory-frames", type=int, default=0)
    options = parser.parse_args()
    size = (f"image.width={options.size}", f"image.height={options.size}")
    recipe = load_recipe(options.recipe, (*size, f"engine.name={options.engine}"))
    reference = load_recipe(options.recipe, (*size, "engine.name=cycles", "engine.samples=1", "engine.denoise=false"))
    library = load_library(recipe)
    stages = [build(recipe, library, scene) for scene in range(options.scenes)]
    print(f"{recipe.name}, {options.size} x {options.size}, {options.scenes} scenes, {os.cpu_count()} CPUs")
    blender = open_renderer(reference.engine, asset_path, options.threads)
    expected = [first_view(blender, stage) for stage in stages]
    blender.close()
    renderer = open_renderer(recipe.engine, asset_path, options.threads)
    compare([first_view(renderer, stage) for stage in stages], expected, options.engine)
    measure_engine(renderer, stages)
    measure_all(renderer, recipe, library, options.scenes)
    if options.memory_frames:
        measure_memory(renderer, recipe, library, options.memory_frames)
    renderer.close()


def build(recipe: Recipe, library: SubjectLibrary, scene: int) -> Stage:
    return build_stage(sample_scene(recipe, scene, library.clip_durations_s), library)


def first_view(renderer: Renderer, stage: Stage) -> Passes:
    renderer.set_stage(stage)
    return renderer.render(0, 0)


def compare(rendered: list[Passes], expected: list[Passes], name: str) -> None:
    overlaps, depth_m, parts = [], [], []
    for ours, theirs in zip(rendered, expected, strict=True):
        for instance in set(np.unique(theirs.instances)) - {0}:
            first, second = ours.instances == instance, theirs.instances == instance
            overlaps.append((first & second).sum() / (first | second).sum())
            both = first & second
            depth_m.append(np.abs(ours.depth_m[both] - theirs.depth_m[both]))
            parts.append((ours.parts[both] == theirs.parts[both]).mean())
    errors_m = np.concatenate(depth_m)
    print(f"{name} against cycles, {len(overlaps)} subjects")
    print(f"  masks: IoU mean {np.mean(overlaps):.4f}, least {min(overlaps):.4f}")
    print(f"  depth inside: median {1000 * np.median(errors_m):.3f} mm, {(errors_m < 0.01).mean():.3%} within 1 cm")
    print(f"  parts: {np.mean(parts):.3%} of pixels alike")


def measure_engine(renderer: Renderer, stages: list[Stage]) -> None:
    """The engine alone: each scene handed over once, each of its frames rendered."""
    wall_s, cpu_s, frames = [], 0.0, 0
    for stage in stages:
        began, cpu = time.perf_counter(), time.process_time()
        renderer.set_stage(stage)
        for frame in range(len(stage.subjects)):
            renderer.render(frame, 0)
        wall_s.append((time.perf_counter() - began) / len(stage.subjects))
        cpu_s += time.process_time() - cpu
        frames += len(stage.subjects)
    print(
        f"engine alone: {1 / np.mean(wall_s):.1f} images/s, {1 / np.quantile(wall_s, 0.1):.1f} on the fastest tenth of "
        f"scenes; {1000 * cpu_s / frames:.0f} ms of CPU an image"
    )


def measure_all(renderer: Renderer, recipe: Recipe, library: SubjectLibrary, scenes: int) -> None:
    """Everything that one process does for an image: geometry, engine, labels, sensor, encoding."""
    began, frames = time.perf_counter(), 0
    for scene in range(1000, 1000 + scenes):
        stage = build(recipe, library, scene)
        renderer.set_stage(stage)
        for frame in range(recipe.frames_per_scene):
            sample = label(stage, renderer.render(frame, 0), frame, 0, recipe, {})
            encode(sample, recipe.image.format, recipe.image.quality)
            frames += 1
    print(f"with geometry, labels and encoding: {frames / (time.perf_counter() - began):.1f} images/s")


def measure_memory(renderer: Renderer, recipe: Recipe, library: SubjectLibrary, frames: int) -> None:
    marks = []
    for scene in range(-(-frames // recipe.frames_per_scene)):
        stage = build(recipe, library, scene)
        renderer.set_stage(stage)
        for frame in range(recipe.frames_per_scene):
            renderer.render(frame, 0)
        if scene % max(1, frames // recipe.frames_per_scene // 8) == 0:
            marks.append(resident_mb())
    print(f"memory over {frames} frames: {' '.join(f'{mark:.0f}' for mark in marks)} MB")


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
