"""Draws many scenes of a recipe without Blender: does any fail, how many are rejected, is each draw within its support?

python benchmarks/scenes.py                  # 20,000 scenes of humans_dr; every tenth is built and judged
python benchmarks/scenes.py --recipe quadrupeds --scenes 2000 --judge-every 1
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
from pydantic import BaseModel

from synthgen.catalog import load_library
from synthgen.distributions import Choice, Distribution, support
from synthgen.engines.painter import PainterRenderer
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import SceneSpec
from synthgen.shards import render_scene

_LOW_PX = 64  # of the pictures that rejects are judged by; shares do not depend on the size
_CHUNK = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="humans_dr")
    parser.add_argument("--scenes", type=int, default=20_000)
    parser.add_argument("--judge-every", type=int, default=10, help="build every n-th scene and count its rejects")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    firsts = range(0, options.scenes, _CHUNK)
    ranges: dict[str, tuple[float, float]] = {}
    names: dict[str, set[str]] = {}
    rejects: Counter[str] = Counter()
    judged = 0
    with ProcessPoolExecutor(options.processes) as pool:
        tasks = [(options.recipe, first, min(_CHUNK, options.scenes - first), options.judge_every) for first in firsts]
        for part_ranges, part_names, part_rejects, part_judged in pool.map(draw_some, tasks):
            for field, (low, high) in part_ranges.items():
                before = ranges.get(field, (low, high))
                ranges[field] = min(before[0], low), max(before[1], high)
            for field, found in part_names.items():
                names.setdefault(field, set()).update(found)
            rejects.update(part_rejects)
            judged += part_judged
    report(load_recipe(options.recipe), options.scenes, judged, ranges, names, rejects)
    print(f"{time.monotonic() - began:.0f} s with {options.processes} processes")


@cache
def prepared(name: str) -> tuple[Recipe, Recipe, SubjectLibrary]:
    """The recipe, the same small and without Blender, and what both need."""
    recipe = load_recipe(name)
    scale = _LOW_PX**2 / (recipe.image.width * recipe.image.height)
    small = (f"image.width={_LOW_PX}", f"image.height={_LOW_PX}", "engine.name=painter")
    small = load_recipe(name, (*small, f"limits.visible_px={round(recipe.limits.visible_px * scale)}"))
    return recipe, small, load_library(recipe)


def draw_some(task: tuple[str, int, int, int]) -> tuple[dict, dict, Counter[str], int]:
    """Ranges of numbers, names that came up, rejects by reason and scenes judged, of one run of scenes."""
    name, first, count, judge_every = task
    recipe, small, library = prepared(name)
    ranges: dict[str, tuple[float, float]] = {}
    names: dict[str, set[str]] = {}
    rejects: Counter[str] = Counter()
    judged = 0
    for scene in range(first, first + count):
        spec = sample_scene(recipe, scene, library.clip_durations_s)
        for field, distribution, value in draws_of(recipe, spec):
            if isinstance(distribution, Choice):
                names.setdefault(field, set()).add(value)
                if value not in distribution.names:
                    raise AssertionError(f"scene {scene}: {field} is {value}, not one of {distribution.names}")
            else:
                low, high = support(distribution)
                if not low <= value <= high:
                    raise AssertionError(f"scene {scene}: {field} is {value}, outside {low}..{high}")
                before = ranges.get(field, (value, value))
                ranges[field] = min(before[0], value), max(before[1], value)
        if scene % judge_every == 0:
            judged += 1
            rejects.update(render_scene(scene, small, library, PainterRenderer(), {})[1])
    return ranges, names, rejects, judged


def draws_of(recipe: Recipe, spec: SceneSpec) -> Iterator[tuple[str, Distribution | Choice, float | str]]:
    """Each field of the recipe whose draw stands in the spec under the same name, and that draw."""
    for camera in spec.cameras:
        yield from _same_names("camera", recipe.camera, camera)
    for light in spec.lights:
        yield from _same_names("lights", recipe.lights, light)
    yield from _same_names("world", recipe.world, spec.world)
    yield from _same_names("sensor", recipe.sensor, spec.sensor, without=("white_balance", "greyscale"))
    for number, subject in enumerate(spec.subjects):
        for part in ("shape", "clothes"):
            section = getattr(recipe.subject, part, None)
            drawn = subject.shape if part == "shape" else getattr(subject, "wardrobe", None)
            if section is not None and drawn is not None:
                yield from _same_names(f"subject.{part}", section, drawn, without=_DERIVED)
        for frame in spec.frames:
            # what else a pose says is made of several draws
            yield from _same_names("subject.pose", recipe.subject.pose, frame.poses[number], without=_DERIVED)


# Fields whose draw decides about the number or name of the same name, or which several draws make.
_DERIVED = ("heading_deg", "jitter_deg", "mirrored", "socks", "gloves", "hair")


def _same_names(
    section: str, model: BaseModel, spec: object, without: tuple[str, ...] = ()
) -> Iterator[tuple[str, Distribution | Choice, float | str]]:
    drawn = vars(spec)
    for field, distribution in model:
        value = drawn.get(field)
        if field in without or isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        if isinstance(distribution, Choice | Distribution) and isinstance(value, str) == isinstance(
            distribution, Choice
        ):
            yield f"{section}.{field}", distribution, value


def report(recipe: Recipe, scenes: int, judged: int, ranges: dict, names: dict, rejects: Counter[str]) -> None:
    """Print what was seen of each field, and the share of rejects."""
    print(f"{recipe.name}: {scenes} scenes drawn, none failed; every number and name lies within its support")
    for field, (low, high) in sorted(ranges.items()):
        print(f"  {field:<34} {low:.3g} .. {high:.3g}")
    for field, found in sorted(names.items()):
        print(f"  {field:<34} {' '.join(sorted(found))}")
    total = sum(rejects.values())
    share = total / (judged + total)
    error = 1.96 * np.sqrt(share * (1 - share) / (judged + total))
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.most_common()) or "none"
    print(f"rejects: {total} of {judged + total} draws judged, {share:.2%} +- {error:.2%} ({reasons})")


if __name__ == "__main__":
    main()
