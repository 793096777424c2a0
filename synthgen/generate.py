"""Renders a dataset: plans shards, hands them to the pool, goes on where an earlier run stopped, writes the manifest.

While a dataset is under way its folder holds `.render/`: the plan, and a record for each finished shard. Both go when
dataset.json is written. A shard counts as finished when its tar and its record are there; the rest is redone.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from posecore.dataset import MANIFEST_NAME, Manifest, encode_manifest, read_manifest
from posecore.errors import UserError
from posecore.skeleton import SUPERSETS, load_skeleton
from synthgen import catalog
from synthgen.engines.opening import require_engine
from synthgen.output import Output, open_output
from synthgen.pool import SceneDone, SceneRaised, ShardDone, ShardLost, render_shards
from synthgen.recipe import Recipe
from synthgen.shards import ShardRecord, ShardTask, decode_record, encode_record, plan_shards, shard_file
from synthgen.user_files import user_files

_STATE_FOLDER = ".render"
_PLAN = "plan.json"

SampleProgress = Callable[[int, int], None]
"""Told the number of samples done since the last call (negative when a shard was lost), and of rejects."""


def render_dataset(
    recipe: Recipe,
    out: Path | str,
    num_workers: int,
    resume: bool,
    on_setup: catalog.Progress = catalog.silent,
    on_samples: SampleProgress = lambda samples, rejects: None,
    on_message: Callable[[str], None] = lambda text: None,
) -> Manifest:
    """Render a whole dataset into `out`, a local folder or an fsspec URL.

    Args:
        resume: go on in a folder that an interrupted run of the same recipe left.
        on_setup: progress of fetching and baking. on_samples: progress of rendering. on_message: lines worth showing.

    Raises:
        UserError: `out` holds something else, an asset is missing, or rendering failed; finished shards stay.
    """
    require_engine(recipe.engine)
    with closing(open_output(out)) as output:
        if resume and MANIFEST_NAME in output.names():
            manifest = read_manifest(out)
            wanted = recipe.num_scenes * recipe.samples_per_scene
            if manifest.recipe_hash == recipe.hash and manifest.num_samples == wanted:
                on_message(f"{out} is complete already: {manifest.num_samples} samples")
                return manifest
        catalog.load_library(recipe, on_setup)
        try:
            records = _open_folder(recipe, output, out, resume)
            if records:
                on_samples(sum(record.shard.count for record in records.values()), 0)
                on_message(f"{len(records)} of {len(plan_shards(recipe))} shards are there already")
            _render_missing(recipe, output, records, num_workers, on_samples, on_message)
            manifest = _manifest(recipe, records)
            output.write(MANIFEST_NAME, encode_manifest(manifest))
            output.remove(_STATE_FOLDER)
        except OSError as error:
            where, what = error.filename or out, error.strerror or error
            raise UserError(f"{where}: {what}; finished shards stay, go on with --resume") from error
    return manifest


def count_finished(out: Path | str, recipe: Recipe) -> tuple[int, int]:
    """Finished and planned shards of a folder under way."""
    with closing(open_output(out)) as output:
        finished = [name for name in output.names(_STATE_FOLDER) if name.startswith("shard-")]
    return len(finished), len(plan_shards(recipe))


def _open_folder(recipe: Recipe, output: Output, out: Path | str, resume: bool) -> dict[int, ShardRecord]:
    """Make the folder ready; gives the records of shards that are finished already."""
    files = [file.id for file in user_files(recipe)]
    plan = {"recipe_hash": recipe.hash, "count": recipe.count, "files": files}
    found, state = output.names(), output.names(_STATE_FOLDER)
    if found and not resume:
        hint = "go on with --resume" if _PLAN in state else "choose another --out"
        raise UserError(f"{out}: not empty; {hint}")
    if found and _PLAN not in state:
        raise UserError(f"{out}: holds no rendering of this recipe that could be resumed; choose another --out")
    if found and (begun := json.loads(output.read(f"{_STATE_FOLDER}/{_PLAN}"))) != plan:
        names = {"recipe_hash": "recipe or seed", "count": "count", "files": "version of a file that the recipe names"}
        what = next(words for name, words in names.items() if begun.get(name) != plan[name])
        raise UserError(f"{out}: was begun with another {what}; give the same one, or choose another --out")
    output.discard_leftovers()
    output.write(f"{_STATE_FOLDER}/{_PLAN}", json.dumps(plan).encode())
    return {
        task.number: decode_record(output.read(f"{_STATE_FOLDER}/{_record_name(task)}"))
        for task in plan_shards(recipe)
        if _record_name(task) in state and shard_file(recipe, task.number) in found
    }


def _render_missing(
    recipe: Recipe,
    output: Output,
    records: dict[int, ShardRecord],
    num_workers: int,
    on_samples: SampleProgress,
    on_message: Callable[[str], None],
) -> None:
    """Render all shards that have no record yet, and add theirs."""
    todo = [task for task in plan_shards(recipe) if task.number not in records]
    for event in render_shards(todo, recipe, output.workspace, num_workers):
        match event:
            case SceneDone(samples, rejects):
                on_samples(samples, rejects)
            case SceneRaised(text):
                on_message(text)
            case ShardDone(task, record):
                output.take(record.shard.file)
                output.write(f"{_STATE_FOLDER}/{_record_name(task)}", encode_record(record))
                records[task.number] = record
            case ShardLost(task, samples, exit_code):
                on_samples(-samples, 0)
                on_message(f"a worker died (exit code {exit_code}); shard {task.number} is being redone")


def _record_name(task: ShardTask) -> str:
    return f"shard-{task.number:06d}.json"


def _manifest(recipe: Recipe, records_by_number: dict[int, ShardRecord]) -> Manifest:
    records = [record for _, record in sorted(records_by_number.items())]
    rejects: Counter[str] = Counter()
    visibility: Counter[str] = Counter()
    for record in records:
        rejects.update(record.rejects)
        visibility.update(record.visibility)
    known = catalog.catalog()
    licences = [
        {"asset": asset.id, "licence": asset.licence, "source": asset.package}
        for asset in map(known.asset, catalog.assets_of(recipe))
    ]
    licences += [
        {"asset": file.id, "licence": file.licence, "source": "the user's own file"} for file in user_files(recipe)
    ]
    return Manifest(
        name=recipe.name,
        kind="synthetic",
        shards=tuple(record.shard for record in records),
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        seed=recipe.seed,
        versions=_versions(recipe),
        skeletons={name: load_skeleton(name).to_dict() for name in SUPERSETS},
        licences=licences,
        rejects=dict(sorted(rejects.items())),
        statistics={
            "scenes": recipe.num_scenes,
            "samples": sum(record.shard.count for record in records),
            "joints_by_visibility": dict(sorted(visibility.items())),
        },
    )


def _versions(recipe: Recipe) -> dict[str, str]:
    packages = ["posesynth", "numpy", "opencv-python-headless"] + (["bpy"] if recipe.engine.name == "cycles" else [])
    return {name: version(name) for name in packages}


def default_workers() -> int:
    """One process for each core: Python's part of a frame then overlaps with other frames' rendering."""
    return os.cpu_count() or 1
