"""Renders one shard: a run of scenes into one tar that appears by rename, and a small record of what is in it.

The bytes of a shard depend on recipe, seed and shard number alone: tar members carry no time and no owner.
"""

import importlib.metadata
import json
import platform
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from posecore.codec import encode
from posecore.dataset import Shard, ShardWriter
from posecore.errors import UserError
from posecore.sample import Sample, validate
from synthgen.labels import label, reason_to_reject
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe
from synthgen.renderer import Renderer
from synthgen.sampling.scene import sample_scene
from synthgen.scene import scene_to_dict
from synthgen.stage import Stage, build_stage, deepest_self_penetration_m

_MOST_ATTEMPTS = 50
_MOST_RAISES = 3  # of one scene


class UnsoundSampleError(Exception):
    """A sample failed its own validation: a fault of synthgen, not of the recipe."""


@dataclass(frozen=True)
class ShardTask:
    """Which scenes a shard holds."""

    number: int
    first_scene: int
    num_scenes: int


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard: its entry in the manifest, why scenes were rejected, and how often each visibility occurs."""

    shard: Shard
    rejects: dict[str, int] = field(default_factory=dict)
    visibility: dict[str, int] = field(default_factory=dict)


def plan_shards(recipe: Recipe) -> list[ShardTask]:
    """All shards of a dataset; the last one may be shorter."""
    firsts = range(0, recipe.num_scenes, recipe.scenes_per_shard)
    return [
        ShardTask(number, first, min(recipe.scenes_per_shard, recipe.num_scenes - first))
        for number, first in enumerate(firsts)
    ]


def shard_file(recipe: Recipe, number: int) -> str:
    return f"{recipe.name}-{number:06d}.tar"


def render_shard(
    task: ShardTask,
    recipe: Recipe,
    library: SubjectLibrary,
    renderer: Renderer,
    folder: Path,
    versions: dict[str, str],
    on_scene: Callable[[int, int], None],
    on_problem: Callable[[str], None] = lambda text: None,
) -> ShardRecord:
    """Render a shard into `folder`.

    Args:
        on_scene: told after each scene how many samples it gave and how often it was rejected before.
        on_problem: told, in one line, what went wrong without ending the shard.

    Raises:
        UserError: a scene was rejected too often.
        OSError: the disk is full or not writable; nothing half-written stays.
        Exception: see `render_scene`.
    """
    rejects: Counter[str] = Counter()
    visibility: Counter[int] = Counter()
    with ShardWriter(folder / shard_file(recipe, task.number)) as writer:
        for scene in range(task.first_scene, task.first_scene + task.num_scenes):
            samples, scene_rejects = render_scene(scene, recipe, library, renderer, versions, on_problem)
            for sample in samples:
                writer.add(sample.key, encode(sample, recipe.image.format, recipe.image.quality))
                for subject in sample.subjects:
                    visibility.update(subject.visibility.tolist())
            rejects.update(scene_rejects)
            on_scene(len(samples), len(scene_rejects))
    by_level = {str(level): n for level, n in sorted(visibility.items())}
    return ShardRecord(writer.shard, dict(rejects), by_level)


def render_scene(
    scene: int,
    recipe: Recipe,
    library: SubjectLibrary,
    renderer: Renderer,
    versions: dict[str, str],
    on_problem: Callable[[str], None] = lambda text: None,
) -> tuple[list[Sample], list[str]]:
    """All samples of a scene, and the reasons for which earlier draws of it were rejected.

    A draw that raises counts as a reject, after a second try that raised as well: chance must not decide what a dataset
    holds.

    Args:
        on_problem: told, in one line, about each draw that raised.

    Raises:
        UserError: rejected too often. OSError, MemoryError: not the scene's fault.
        Exception: what the third draw of the scene raised: then it is not the draw's fault.
    """
    rejects: list[str] = []
    raised = 0
    while len(rejects) < _MOST_ATTEMPTS:
        try:
            samples, reason = _render_draw(scene, len(rejects), recipe, library, renderer, versions)
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:
            raised += 1
            if raised >= _MOST_RAISES:
                raise
            reason = f"raised {type(error).__name__}"
            place = traceback.extract_tb(error.__traceback__)[-1]
            on_problem(
                f"scene {scene} {reason}: {error} ({Path(place.filename).name}:{place.lineno}); it is drawn anew"
            )
        if reason is None:
            return samples, rejects
        rejects.append(reason)
    raise UserError(
        f"scene {scene} was rejected {_MOST_ATTEMPTS} times ({', '.join(sorted(set(rejects)))}); "
        "loosen `limits` of the recipe, or what the camera and occluders may do"
    )


def _render_draw(
    scene: int,
    attempt: int,
    recipe: Recipe,
    library: SubjectLibrary,
    renderer: Renderer,
    versions: dict[str, str],
    is_second_try: bool = False,
) -> tuple[list[Sample], str | None]:
    """Samples of one draw up to the first that must be rejected, and why; None if all are good."""
    try:
        spec = sample_scene(recipe, scene, library.clip_durations_s, attempt)
        stage = build_stage(spec, library)
        if deepest_self_penetration_m(stage) > recipe.limits.self_penetration_m:
            return [], "self_penetration"
        samples: list[Sample] = []
        for sample in render_stage(stage, recipe, library, renderer, versions):
            samples.append(sample)
            reason = reason_to_reject(sample, recipe)
            if reason is not None:
                return samples, reason
            problems = validate(sample)
            if problems:
                raise UnsoundSampleError(f"{sample.key}: {problems[0]}")
        return samples, None
    except (UserError, OSError, MemoryError):
        raise
    except Exception:
        if is_second_try:
            raise
        return _render_draw(scene, attempt, recipe, library, renderer, versions, is_second_try=True)


def render_stage(
    stage: Stage,
    recipe: Recipe,
    library: SubjectLibrary,
    renderer: Renderer,
    versions: dict[str, str],
    only: tuple[int, int] | None = None,
) -> Iterator[Sample]:
    """Samples of a scene that was built, frame by frame and view by view.

    Args:
        recipe: says what to store and is named in the provenance; nothing is drawn from it.
        only: (frame, view) of the one sample to render; None: all.
    """
    spec = stage.spec
    provenance = {
        "recipe": recipe.name,
        "recipe_hash": recipe.hash,
        "versions": versions,
        "assets": sorted({*library.assets, spec.world.hdri}),
        "seed": spec.seed,
        "spec": scene_to_dict(spec),
    }
    renderer.set_stage(stage)
    for frame in range(len(spec.frames)):
        for view in range(len(spec.cameras)):
            if only is None or only == (frame, view):
                yield label(stage, renderer.render(frame, view), frame, view, recipe, provenance)


def current_versions(engine: str, engine_version: str) -> dict[str, str]:
    """Versions of everything that decides what a sample looks like."""
    return {
        "posesynth": importlib.metadata.version("posesynth"),
        engine: engine_version,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def encode_record(record: ShardRecord) -> bytes:
    """A record as it is kept beside the shards until the manifest is written."""
    return json.dumps(asdict(record)).encode()


def decode_record(data: bytes) -> ShardRecord:
    """What `encode_record` gave."""
    content = json.loads(data)
    return ShardRecord(Shard(**content["shard"]), content["rejects"], content["visibility"])
