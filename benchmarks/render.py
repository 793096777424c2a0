"""Speed and memory of rendering, on this machine: images a second, where the time goes, whether a worker grows.

python benchmarks/render.py                       # humans_dr at 128 x 128, its own samples per pixel
python benchmarks/render.py --recipe quadrupeds --size 256 --frames 100 --memory-frames 1000
python benchmarks/render.py --scaling             # also one worker with one thread beside one worker a core
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in a render worker; numpy reads it once

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from posecore.codec import encode
from synthgen.catalog import asset_path, load_library
from synthgen.engines.opening import open_renderer
from synthgen.generate import render_dataset
from synthgen.labels import label
from synthgen.pool import SceneDone, render_shards
from synthgen.recipe import Recipe, load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.shards import plan_shards
from synthgen.stage import build_stage

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="humans_dr")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=200, help="frames of the throughput measurement")
    parser.add_argument("--memory-frames", type=int, default=200, help="frames that one worker renders in a row")
    parser.add_argument("--scaling", action="store_true", help="also measure what a worker a core gains over one")
    options = parser.parse_args()
    size = (f"image.width={options.size}", f"image.height={options.size}", "scenes_per_shard=10")
    recipe = load_recipe(options.recipe, (*size, f"count={options.frames}"))
    print(
        f"{recipe.name}, {options.size} x {options.size}, {recipe.engine.samples} samples/pixel, {os.cpu_count()} CPUs"
    )
    measure_throughput(recipe)
    if options.scaling:
        measure_scaling(recipe)
    measure_one_worker(recipe, options.memory_frames)


def measure_throughput(recipe: Recipe) -> None:
    """The whole command's work: processes, labels, encoding, shards. Start-up is told apart by the first samples."""
    marks: list[tuple[float, int]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        render_dataset(
            recipe,
            Path(folder) / "data",
            num_workers=os.cpu_count() or 1,
            resume=False,
            on_samples=lambda done, _: marks.append((time.monotonic(), done)),
        )
    seconds = marks[-1][0] - marks[0][0]
    images = sum(done for _, done in marks[1:])
    print(f"throughput: {images / seconds:.2f} images/s after a start of {marks[0][0] - began:.1f} s")


def measure_scaling(recipe: Recipe) -> None:
    """Images a second of one worker with one thread and of one such worker for each core, after their starts."""
    speeds = {}
    for workers in (1, os.cpu_count() or 1):
        marks: list[tuple[float, int]] = []
        with tempfile.TemporaryDirectory() as folder:
            for event in render_shards(plan_shards(recipe), recipe, Path(folder), workers, threads=1):
                if isinstance(event, SceneDone):
                    marks.append((time.monotonic(), event.samples))
        # until the last worker has begun, and from when the first one has nothing left, not all are at work
        counted = marks[workers : -workers * recipe.scenes_per_shard // 2 or None]
        speeds[workers] = sum(done for _, done in counted[1:]) / (counted[-1][0] - counted[0][0])
    (_, one), (workers, all_) = speeds.items()
    print(f"scaling: 1 worker {one:.2f}, {workers} workers {all_:.2f} images/s: {all_ / one:.2f} times")


def measure_one_worker(recipe: Recipe, frames: int) -> None:
    """One process with one thread: CPU time by step, and memory over time."""
    library = load_library(recipe)
    renderer = open_renderer(recipe.engine, asset_path, threads=1)
    spent: dict[str, float] = defaultdict(float)

    def timed(step: str, work: Callable[[], Result]) -> Result:
        began = time.process_time()
        result = work()
        spent[step] += time.process_time() - began
        return result

    done, memory_mb = 0, []
    for scene in range(-(-frames // recipe.samples_per_scene)):
        spec = timed("draw the scene", lambda: sample_scene(recipe, scene, library.clip_durations_s))  # noqa: B023
        stage = timed("build its geometry", lambda: build_stage(spec, library))  # noqa: B023
        timed("hand it to the engine", lambda: renderer.set_stage(stage))  # noqa: B023
        for frame in range(recipe.frames_per_scene):
            passes = timed("render", lambda: renderer.render(frame, 0))  # noqa: B023
            sample = timed("label", lambda: label(stage, passes, frame, 0, recipe, {}))  # noqa: B023
            timed("encode", lambda: encode(sample, recipe.image.format, recipe.image.quality))  # noqa: B023
            done += 1
        if done % max(1, frames // 10) < recipe.frames_per_scene:
            memory_mb.append(resident_mb())
    renderer.close()
    total = sum(spent.values())
    for step, seconds in spent.items():
        print(f"  {step:<22} {1000 * seconds / done:7.1f} ms an image  {seconds / total:6.1%}")
    print(f"outside the engine: {1 - spent['render'] / total:.1%} of the CPU time")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory over {done} frames: {' '.join(f'{m:.0f}' for m in memory_mb)} MB; peak {peak:.0f} MB")


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
