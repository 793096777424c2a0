"""Checks a dataset as a user who trusts nothing would: manifest, hashes, counts, keys, and every sample against itself.

Samples of one scene are held against each other too: frames share the camera and the bodies, views share the moment.
What is wrong with single samples is in sample_checks. One line a problem; memory does not grow with the dataset, but
for its keys.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
from pydantic import ValidationError

from posecore.codec import decode, decode_real
from posecore.dataset import MANIFEST_NAME, Manifest, join_url, read_manifest, read_records
from posecore.errors import UserError
from posecore.sample import RealFrame, Sample, Subject, split_key
from posecore.skeleton import load_skeleton, skeleton_names
from synthgen.datasets.sample_checks import FaultCounts, are_orthonormal, bones_at_rest, sample_problems
from synthgen.recipe import Recipe
from synthgen.scene import scene_from_dict

_BONE_CHANGE = 0.1  # of a limb bone between frames, share of its length; skin landmarks at its ends move by less
_SAME_PLACE_M = 1e-6


def validate_dataset(
    data: str | Path, on_sample: Callable[[], None] = lambda: None, counts: FaultCounts | None = None
) -> Iterator[str]:
    """Problems of a dataset, one line each, naming shard and key.

    Args:
        data: local folder or fsspec URL.
        counts: faults that single joints may have are added here; few of them are no problem.

    Raises:
        UserError: there is no readable manifest.
    """
    manifest = read_manifest(data)
    yield from (f"{MANIFEST_NAME}: {problem}" for problem in _manifest_problems(manifest))
    walk = _Walk(manifest, counts or FaultCounts())
    for shard in manifest.shards:
        count, stream = 0, None
        try:
            with fsspec.open(join_url(data, shard.file), "rb") as file:
                stream = _HashedStream(file)
                try:
                    for key, members in read_records(stream, shard.file):
                        count += 1
                        on_sample()
                        yield from (f"{shard.file}: {problem}" for problem in walk.record_problems(key, members))
                except UserError as error:
                    yield str(error)
                yield from (f"{shard.file}: {problem}" for problem in walk.end_of_scene())
                digest = stream.rest_and_digest()
        except FileNotFoundError:
            yield f"{shard.file}: missing, though {MANIFEST_NAME} lists it"
            continue
        if digest != shard.sha256:
            yield f"{shard.file}: its sha256 is not the manifest's; it was changed or damaged"
        if count != shard.count:
            yield f"{shard.file}: holds {count} samples, the manifest says {shard.count}"
    yield from walk.dataset_problems()
    listed = {shard.file for shard in manifest.shards}
    for name in _tar_names(data):
        if name not in listed:
            yield f"{name}: not listed in {MANIFEST_NAME}"


class _HashedStream:
    """Hashes what is read through it, so that a shard is read once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._hash.update(content)
        return content

    def rest_and_digest(self) -> str:
        """Read to the end; the sha256 of everything."""
        while self.read(1 << 20):
            pass
        return self._hash.hexdigest()


@dataclass
class _Scene:
    """The samples of the scene that is being read."""

    number: int
    spec: Any
    keys: set[str] = field(default_factory=set)
    cameras: dict[int, tuple[int, int, list[list[float]]]] = field(default_factory=dict)
    subjects: dict[int, Subject] = field(default_factory=dict)
    joints_world_m: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)


class _Walk:
    """Reads records in order and says what is wrong with each, with each scene, and at the end with all."""

    def __init__(self, manifest: Manifest, counts: FaultCounts) -> None:
        self._manifest = manifest
        self._seen: set[str] = set()
        self._counts = counts
        self._scene: _Scene | None = None
        self._frame: RealFrame | None = None
        self._clips: set[str] = set()
        self._assets: set[str] = set()
        self._skeletons: set[str] = set()
        self._unreadable: list[str] = []
        image = manifest.recipe.get("image", {}) if manifest.kind == "synthetic" else {}
        suffixes = {"depth": "npz", "normal": "png", "parts": "png"}
        self._promised = {f"{layer}.{suffixes[layer]}" for layer in image.get("layers", ()) if layer in suffixes}
        self._promised |= {f"image.{image['format']}"} if "format" in image else set()

    def record_problems(self, key: str, members: dict[str, bytes]) -> Iterator[str]:
        """What is wrong with a record, and with the scene before it if this one begins another."""
        if key in self._seen:
            yield f"key {key} occurs twice"
            return
        self._seen.add(key)
        try:
            if self._manifest.kind == "real":
                yield from (f"{key}: {problem}" for problem in self._real_problems(key, decode_real(members)))
                return
            scene, frame, view = split_key(key)
            if self._scene is not None and self._scene.number != scene:
                yield from self.end_of_scene()
            sample = decode(members)
            if sample.key != key:
                yield f"{key}: meta.json says its key is {sample.key}"
            elif (sample.scene, sample.frame, sample.view) != (scene, frame, view):
                yield f"{key}: scene, frame and view do not agree with the key"
            else:
                yield from (f"{key}: {problem}" for problem in self._sample_problems(sample, members))
        except UserError as error:
            yield f"{key}: {error}"
        except (KeyError, TypeError, ValueError, IndexError) as error:
            yield f"{key}: meta.json lacks or garbles a field ({type(error).__name__}: {error})"

    def end_of_scene(self) -> Iterator[str]:
        """What the scene that was read lacks."""
        scene, self._scene = self._scene, None
        recipe = self._manifest.recipe
        if scene is None or not {"frames_per_scene", "views_per_frame"} <= recipe.keys():
            return
        frames, views = range(recipe["frames_per_scene"]), range(recipe["views_per_frame"])
        present = {split_key(key)[1:] for key in scene.keys}
        missing = [(frame, view) for frame in frames for view in views if (frame, view) not in present]
        if missing:
            frame, view = missing[0]
            yield f"scene {scene.number} lacks {len(missing)} samples, such as frame {frame}, view {view}"

    def dataset_problems(self) -> Iterator[str]:
        """What only shows over all samples."""
        yield from self._counts.problems()
        if self._unreadable:
            yield f"{len(self._unreadable)} scenes cannot be rendered again, such as {self._unreadable[0]}"
        manifest = self._manifest
        licensed = {entry.get("asset") for entry in manifest.licences}
        for asset in sorted(self._assets - licensed):
            yield f"{MANIFEST_NAME}: samples use the asset {asset}, whose licence is not listed"
        for name in sorted(self._skeletons - manifest.skeletons.keys()):
            yield f"{MANIFEST_NAME}: samples use the skeleton {name}, which is not described"

    def _sample_problems(self, sample: Sample, members: dict[str, bytes]) -> Iterator[str]:
        missing = self._promised - members.keys()
        if missing:
            yield f"{', '.join(sorted(missing))} missing, which the recipe asks for"
        provenance = sample.provenance
        if provenance["recipe_hash"] != self._manifest.recipe_hash:
            yield "was rendered by another recipe than the dataset's"
        self._assets.update(provenance.get("assets", ()))
        unknown = {subject.skeleton for subject in sample.subjects} - set(skeleton_names())
        if unknown:
            yield f"skeleton {unknown.pop()!r} is not known"
            return
        self._skeletons |= {subject.skeleton for subject in sample.subjects}
        if len({subject.id for subject in sample.subjects}) < len(sample.subjects):
            yield "two subjects have the same id"
        yield from sample_problems(sample, self._counts)
        yield from self._scene_problems(sample)

    def _scene_problems(self, sample: Sample) -> Iterator[str]:
        """What does not agree with the scene's samples before it."""
        spec = sample.provenance.get("spec")
        if self._scene is None:
            self._scene = _Scene(sample.scene, spec)
            yield from self._spec_problems(sample)
        scene = self._scene
        scene.keys.add(sample.key)
        if spec != scene.spec:
            yield "its scene's provenance is not that of the samples before it"
        camera = sample.camera
        lens = (camera.width, camera.height, camera.K.tolist())
        if scene.cameras.setdefault(sample.view, lens) != lens:
            yield f"size or K of view {sample.view} are not those of the frame before it"
        for subject in sample.subjects:
            first = scene.subjects.setdefault(subject.id, subject)
            if (first.kind, first.species, first.skeleton, first.shape) != (
                subject.kind, subject.species, subject.skeleton, subject.shape,
            ):  # fmt: skip
                yield f"subject {subject.id} is somebody else than in the samples before it"
                continue
            moment = (sample.frame, subject.id)
            joints = scene.joints_world_m.setdefault(moment, subject.joints_world_m)
            if np.abs(joints - subject.joints_world_m).max() > _SAME_PLACE_M:
                yield f"subject {subject.id} is not where the other views of frame {sample.frame} have it"
            yield from _bone_problems(first, subject)

    def _spec_problems(self, sample: Sample) -> Iterator[str]:
        """Whether the scene could be rendered again, and its spec is its own."""
        try:
            spec = scene_from_dict(sample.provenance.get("spec"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["spec", *map(str, first["loc"])])
            self._unreadable.append(
                f"scene {sample.scene}, whose provenance this version cannot read ({where}: {first['msg']})"
            )
            return
        if spec.scene != sample.scene or (spec.width, spec.height) != (sample.camera.width, sample.camera.height):
            yield "the scene in its provenance is another one"
        elif sample.frame >= len(spec.frames) or sample.view >= len(spec.cameras):
            yield "the scene in its provenance has no such frame or view"

    def _real_problems(self, key: str, frame: RealFrame) -> Iterator[str]:
        before, self._frame = self._frame, frame
        if frame.key != key:
            yield f"meta.json says its key is {frame.key}"
        if min(frame.crop[2:]) <= 0:
            yield f"crop {list(frame.crop)} has no area"
        if before is not None and before.clip == frame.clip:
            if frame.frame <= before.frame or frame.time_s < before.time_s:
                yield f"frame {frame.frame} of clip {frame.clip} comes after frame {before.frame}"
            if frame.image.shape != before.image.shape:
                yield f"its size is not that of the clip {frame.clip} before it"
        elif frame.clip in self._clips:
            yield f"clip {frame.clip} goes on after another clip began"
        self._clips.add(frame.clip)


def _bone_problems(first: Subject, subject: Subject) -> Iterator[str]:
    """A limb bone whose length, or direction in its parent's frame, is not that of the scene's first frame."""
    if any(one.rotations is None or not are_orthonormal(one.rotations) for one in (first, subject)):
        return
    skeleton = load_skeleton(subject.skeleton)
    bones = bones_at_rest(subject, skeleton)
    for (parent, joint), before in bones_at_rest(first, skeleton).items():
        change = np.linalg.norm(bones[parent, joint] - before) / np.linalg.norm(before)
        if change > _BONE_CHANGE:
            yield (
                f"subject {subject.id}: the bone to {skeleton.joints[joint]}, turned back to rest, is not that of the "
                f"scene's first frame: it differs by {change:.0%} of its length"
            )
            return


def _manifest_problems(manifest: Manifest) -> Iterator[str]:
    if manifest.kind not in ("synthetic", "real"):
        yield f"kind is {manifest.kind!r}, not synthetic or real"
    if manifest.num_samples == 0:
        yield "the dataset is empty"
    names = [shard.file for shard in manifest.shards]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is listed twice"
    counted = manifest.statistics.get("samples", manifest.num_samples)
    if counted != manifest.num_samples:
        yield f"statistics count {counted} samples, the shards {manifest.num_samples}"
    for name, stored in manifest.skeletons.items():
        if name not in skeleton_names():
            yield f"skeleton {name!r} is not known"
            continue
        known = load_skeleton(name).to_dict()
        differing = [part for part in ("joints", "parents", "swap", "edges") if stored.get(part) != known[part]]
        if differing:
            yield f"skeleton {name} has other {' and '.join(differing)} than this program's"
    if manifest.kind == "synthetic":
        try:
            recipe = Recipe.model_validate(manifest.recipe)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "recipe"
            yield f"the recipe cannot be read by this version ({where}: {first['msg']}); rerender will not work"
            return
        if recipe.hash != manifest.recipe_hash:
            yield "recipe_hash is not the recipe's"
        if recipe.seed != manifest.seed:
            yield f"seed is {manifest.seed}, the recipe says {recipe.seed}"


def _tar_names(data: str | Path) -> list[str]:
    filesystem, path = fsspec.core.url_to_fs(str(data))
    return sorted(name.rsplit("/", 1)[-1] for name in filesystem.glob(f"{path.rstrip('/')}/*.tar"))
