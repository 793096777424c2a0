"""Makes one sample again from its own provenance, and says whether every stored byte came out the same.

The stored SceneSpec goes through the code that rendered the dataset; nothing is drawn anew. What a variant may change
is how the scene is rendered and stored (engine, picture), never what it shows.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from posecore.codec import decode, encode, read_meta
from posecore.dataset import MANIFEST_NAME, Manifest, join_url, write_atomically
from posecore.errors import UserError
from posecore.sample import Sample, split_key
from posecore.settings import apply_override, parse_settings
from synthgen import catalog
from synthgen.datasets.lookup import find_record
from synthgen.engines.opening import open_renderer, require_engine
from synthgen.recipe import Recipe
from synthgen.scene import SceneSpec, scene_from_dict
from synthgen.shards import current_versions, render_stage
from synthgen.stage import build_stage

_CHANGEABLE = ("engine.", "image.")
_MOST_LINES = 20


@dataclass(frozen=True, eq=False)
class Rerendered:
    """A sample's members as stored, and as they came out now. `is_variant`: rendered otherwise on purpose."""

    key: str
    stored: dict[str, bytes]
    members: dict[str, bytes]
    is_variant: bool


@threadpool_limits.wrap(limits=1, user_api="blas")  # as in a worker: more threads, other last bits
def rerender(
    data: str, key: str, overrides: tuple[str, ...] = (), on_setup: catalog.Progress = catalog.silent
) -> Rerendered:
    """Render one sample of a dataset again.

    Args:
        data: local folder or fsspec URL.
        overrides: "engine.a=value" and "image.a=value", for a variant of the same scene.

    Raises:
        UserError: no such dataset or key, a real dataset, an override of anything else, an engine that is not
            installed, an asset that cannot be fetched, or provenance that this version cannot read.
    """
    manifest, record = find_record(data, key)
    if manifest.kind == "real":
        raise UserError(f"{data}: holds real footage; only rendered samples can be rendered again")
    recipe = _recipe(data, manifest, overrides)
    require_engine(recipe.engine)
    spec = _spec(key, manifest, read_meta(record.members))
    if overrides:
        spec = replace(spec, width=recipe.image.width, height=recipe.image.height)
    _, frame, view = split_key(key)
    library = catalog.load_library(recipe, on_setup)
    renderer = open_renderer(recipe.engine, catalog.asset_finder(recipe), os.cpu_count() or 1)
    try:
        versions = current_versions(renderer.name, renderer.version)
        stage = build_stage(spec, library)
        (sample,) = render_stage(stage, recipe, library, renderer, versions, only=(frame, view))
    finally:
        renderer.close()
    members = encode(sample, recipe.image.format, recipe.image.quality)
    return Rerendered(key, record.members, members, is_variant=bool(overrides))


def differences(result: Rerendered) -> list[str]:
    """What is not as stored, one line each; empty if every byte is the same."""
    stored, members = result.stored, result.members
    lines = [f"{name}: stored, but not rendered now" for name in stored if name not in members]
    lines += [f"{name}: rendered now, but not stored" for name in members if name not in stored]
    changed = {name for name in stored if name in members and stored[name] != members[name]}
    if not changed:
        return lines
    before, after = decode(stored), decode(members)
    if "meta.json" in changed:
        lines += _json_differences(json.loads(stored["meta.json"]), json.loads(members["meta.json"]), "")
        changed.discard("meta.json")
    lines += [f"{name}: {_layer_difference(name, before, after)}" for name in sorted(changed)]
    return lines


def write_members(result: Rerendered, out: Path) -> list[Path]:
    """Write the new members into a folder as KEY.NAME; gives their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{result.key}.{name}" for name in result.members]
    for path, content in zip(paths, result.members.values(), strict=True):
        write_atomically(path, content)
    return paths


def picture_name(result: Rerendered) -> str:
    """File name of the new picture."""
    return next(f"{result.key}.{name}" for name in result.members if name.startswith("image."))


def _recipe(data: str, manifest: Manifest, overrides: tuple[str, ...]) -> Recipe:
    content = json.loads(json.dumps(manifest.recipe))
    for override in overrides:
        if not override.startswith(_CHANGEABLE):
            raise UserError(
                f"--set {override}: only engine.* and image.* can change; what the scene shows is in its provenance"
            )
    source = join_url(data, MANIFEST_NAME)
    _require_readable(lambda: parse_settings(Recipe, content, source), "recipe", manifest)
    for override in overrides:
        apply_override(content, override)
    return parse_settings(Recipe, content, "--set" if overrides else source)


def _spec(key: str, manifest: Manifest, meta: dict[str, Any]) -> SceneSpec:
    content = meta["provenance"].get("spec")
    if content is None:
        raise UserError(f"sample {key}: no scene in its provenance; it cannot be rendered again")
    return _require_readable(lambda: scene_from_dict(content), f"scene of {key}", manifest)


def _require_readable(read: Callable[[], Any], what: str, manifest: Manifest) -> Any:
    try:
        return read()
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except UserError as error:
        why = str(error).splitlines()[0]
    version = manifest.versions.get("posesynth", "unknown")
    raise UserError(
        f"the dataset's {what} cannot be read by this version of posesynth ({why}); use the one that rendered it: "
        f"{version}"
    )


def _layer_difference(name: str, before: Sample, after: Sample) -> str:
    layer = name.split(".")[0]
    attribute = {"depth": "depth_m"}.get(layer, layer)
    old, new = getattr(before, attribute), getattr(after, attribute)
    if old.shape != new.shape:
        return f"stored {_shape(old)}, now {_shape(new)}"
    if np.array_equal(old, new):
        return "same pixels in other bytes (another encoder)"
    if layer in ("mask", "parts"):
        return f"{np.count_nonzero(old != new)} of {old.size} pixels differ"
    both = np.isfinite(old) & np.isfinite(new)
    gap = np.abs(old[both].astype(np.float64) - new[both].astype(np.float64))
    unit = " m" if layer == "depth" else " of 255"
    lost = np.count_nonzero(np.isfinite(old) != np.isfinite(new))
    tail = f", and {lost} pixels are finite in one of them only" if lost else ""
    return f"differs by {gap.mean():.4g}{unit} on average, at most {gap.max():.4g}{tail}"


def _json_differences(old: Any, new: Any, path: str) -> list[str]:
    """Where two JSON values differ, one line each; arrays of numbers by their largest difference."""
    if old == new:
        return []
    where = f"meta.json: {path}"
    if isinstance(old, dict) and isinstance(new, dict):
        lines = [f"{where}.{name}: stored, but absent now" for name in old if name not in new]
        lines += [f"{where}.{name}: absent in the stored sample" for name in new if name not in old]
        for name in old:
            if name in new:
                lines += _json_differences(old[name], new[name], f"{path}.{name}" if path else name)
        return _shortened([line.replace("meta.json: .", "meta.json: ") for line in lines])
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        try:
            gap = np.abs(np.array(old, dtype=np.float64) - np.array(new, dtype=np.float64)).max()
        except (TypeError, ValueError):
            pairs = enumerate(zip(old, new, strict=True))
            return [line for i, (a, b) in pairs for line in _json_differences(a, b, f"{path}[{i}]")]
        return [f"{where}: differs by up to {gap:.4g}"]
    return [f"{where}: stored {_short(old)}, now {_short(new)}"]


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[: _MOST_LINES - 1], f"meta.json: and {len(lines) - _MOST_LINES + 1} differences more"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shape(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
