"""Checks a dataset as a user who trusts nothing would: hashes, counts, keys, and every sample against itself.

Beyond posecore.sample.validate, a sample's joints are held against its mask, and left and right against each other.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from posecore.codec import decode, decode_real, read_meta
from posecore.dataset import MANIFEST_NAME, Manifest, read_manifest, read_records
from posecore.errors import UserError
from posecore.sample import VISIBLE, Sample, Subject, split_key, validate
from posecore.skeleton import load_skeleton
from posecore.transforms import global_from_local, matrix_from_rotation_6d

_NEAR_MASK_PX = 2.0


def validate_dataset(data: Path, on_sample: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Problems of a dataset, one line each, naming shard and key.

    Raises:
        UserError: there is no readable manifest.
    """
    manifest = read_manifest(data)
    seen: set[str] = set()
    for shard in manifest.shards:
        path = data / shard.file
        if not path.is_file():
            yield f"{shard.file}: missing, though {MANIFEST_NAME} lists it"
            continue
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != shard.sha256:
            yield f"{shard.file}: its sha256 is not the manifest's; it was changed or damaged"
        count = 0
        try:
            with open(path, "rb") as file:
                for key, members in read_records(file, shard.file):
                    count += 1
                    on_sample()
                    if key in seen:
                        yield f"{shard.file}: key {key} occurs twice"
                    seen.add(key)
                    for problem in _record_problems(key, members, manifest):
                        yield f"{shard.file}: {key}: {problem}"
        except UserError as error:
            yield str(error)
        if count != shard.count:
            yield f"{shard.file}: holds {count} samples, the manifest says {shard.count}"
    listed = {shard.file for shard in manifest.shards}
    for path in sorted(data.glob("*.tar")):
        if path.name not in listed:
            yield f"{path.name}: not listed in {MANIFEST_NAME}"


def sample_problems(sample: Sample) -> list[str]:
    """What is wrong with one synthetic sample, one line each; empty if it is sound."""
    problems = validate(sample)
    if problems:
        return problems
    for subject in sample.subjects:
        problems += [f"subject {subject.id}: {problem}" for problem in _joint_problems(sample, subject)]
    return problems


def _record_problems(key: str, members: dict[str, bytes], manifest: Manifest) -> list[str]:
    try:
        meta = read_meta(members)
        if meta.get("key") != key:
            return [f"meta.json says its key is {meta.get('key')}"]
        if manifest.kind == "real":
            decode_real(members)
            return []
        sample = decode(members)
        if (sample.scene, sample.frame, sample.view) != split_key(key):
            return ["scene, frame and view do not agree with the key"]
        if meta["provenance"]["recipe_hash"] != manifest.recipe_hash:
            return ["was rendered by another recipe than the dataset's"]
        return sample_problems(sample)
    except UserError as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return [f"meta.json lacks or garbles a field ({type(error).__name__}: {error})"]


def _joint_problems(sample: Sample, subject: Subject) -> list[str]:
    problems = []
    skeleton = load_skeleton(subject.skeleton)
    mask = sample.mask == subject.id
    visible = subject.visibility == VISIBLE
    if mask.any() and visible.any():
        distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        column, row = np.floor(subject.joints_px[visible]).astype(int).T
        astray = distance[row, column] > _NEAR_MASK_PX
        if astray.mean() > 0.25:
            names = [skeleton.joints[j] for j in np.flatnonzero(visible)[astray]]
            problems.append(f"{len(names)} visible joints lie off the mask, such as {names[0]}")
    elif visible.any():
        problems.append("joints are visible but the mask has no pixel of the subject")
    if subject.rotations is not None and _sides_are_swapped(subject):
        problems.append("left and right are swapped: left hips or shoulders lie on the body's right")
    return problems


def _sides_are_swapped(subject: Subject) -> bool:
    """Whether the left joints lie on the right of the body, as its own root rotation tells left (+x at rest)."""
    skeleton = load_skeleton(subject.skeleton)
    rotations = global_from_local(matrix_from_rotation_6d(subject.rotations), skeleton.parents)
    left_hip, right_hip = skeleton.index("left_hip"), skeleton.index("right_hip")
    root = skeleton.parents.index(-1)
    across = subject.joints_world_m[left_hip] - subject.joints_world_m[right_hip]
    return bool(across @ rotations[root] @ np.array([1.0, 0.0, 0.0]) < 0)
