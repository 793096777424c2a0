"""Writes a dataset in COCO's keypoint format: images/ with the stored pictures, annotations/*.json.

Keypoints and K follow COCO's convention: the centre of the top-left pixel is (0, 0), so they are the stored values
minus half a pixel, and `camera.K` projects `keypoints_cam_m` onto `keypoints`. Boxes and masks are measured from pixel
edges, in COCO as here. v is 0 outside the frame (then x = y = 0), 1 if something hides the joint, 2 if it is visible.
Beyond COCO, each annotation bears our four-level `visibility`, `keypoints_cam_m`, `occlusion` and `truncation`, each
image `camera`, `key`, `scene`, `frame` and `view`. Subjects without a visible pixel are left out, as annotators do:
what cannot be seen has no mask, no box and no area.

Annotations are written as they come, so memory does not grow with the dataset; the folder appears whole or not at all.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from pycocotools import mask as rle

from posecore.codec import decode, image_member
from posecore.dataset import Manifest, iterate_dataset, read_manifest
from posecore.derived_joints import derive_joints
from posecore.errors import UserError
from posecore.sample import OUTSIDE, VISIBLE, Sample, Subject
from posecore.skeleton import Skeleton, load_skeleton
from synthgen.subjects.animals.species import species

_DEFAULT_SKELETONS = {"human": "coco17", "quadruped": "ap10k17"}
_CATEGORIES = ("human", *species())  # ids count from 1 in this order, the same in every dataset
_PIXEL_CENTRE = 0.5
_PARTS = ("images", "annotations")


@dataclass(frozen=True)
class CocoSummary:
    """What was written: `files` with the numbers of images and annotations in each, and subjects left out."""

    files: dict[str, tuple[int, int]]
    hidden_subjects: int


def export_coco(
    data: str | Path,
    out: Path,
    skeleton: str | None = None,
    validation_share: float = 0.0,
    on_sample: Callable[[], None] = lambda: None,
) -> CocoSummary:
    """Write a labelled dataset as COCO keypoints.

    Ids count from 1 over the whole dataset in its order, whether split or not.

    Args:
        data: local folder or fsspec URL.
        out: empty or new folder.
        skeleton: of the keypoints; None: coco17 for people, ap10k17 for animals.
        validation_share: 0..1 of the scenes go, evenly spread and whole, into a file of their own.

    Raises:
        UserError: no dataset, an empty or unlabelled one, a skeleton that its subjects do not have, `out` in use.
    """
    manifest = read_manifest(data)
    if manifest.kind == "real":
        raise UserError(f"{data}: holds unlabelled footage; there is nothing to export")
    if manifest.num_samples == 0:
        raise UserError(f"{data}: the dataset is empty")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; choose another --out")
    names = ("keypoints_train", "keypoints_val") if validation_share > 0 else ("keypoints",)
    skeletons: dict[int, Skeleton] = {}
    image_id = annotation_id = hidden = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary, ExitStack() as stack:
        folder = Path(temporary) / "export"
        (folder / "images").mkdir(parents=True)
        (folder / "annotations").mkdir()
        lists = {
            name: {
                part: _EntryList(stack.enter_context(open(Path(temporary) / f"{name}.{part}", "w+"))) for part in _PARTS
            }
            for name in names
        }
        for key, members in iterate_dataset(data):
            sample = decode(members, layers=("mask",))
            image_id += 1
            target = lists[names[-1] if _is_validation(sample.scene, validation_share) else names[0]]
            file_name = f"{key}.{'png' if 'image.png' in members else 'jpg'}"
            (folder / "images" / file_name).write_bytes(image_member(members))
            target["images"].add(_image_entry(image_id, file_name, sample))
            for subject in sample.subjects:
                if not (sample.mask == subject.id).any():
                    hidden += 1
                    continue
                annotation_id += 1
                drawn = load_skeleton(skeleton or _DEFAULT_SKELETONS[subject.skeleton])
                entry = _annotation(annotation_id, image_id, sample, subject, drawn)
                skeletons[entry["category_id"]] = drawn
                target["annotations"].add(entry)
            on_sample()
        head = _head(manifest, skeletons)
        for name, parts in lists.items():
            _join(folder / "annotations" / f"{name}.json", head, parts)
        folder.replace(out)
    counts = {name: (parts["images"].count, parts["annotations"].count) for name, parts in lists.items()}
    return CocoSummary(counts, hidden)


class _EntryList:
    """A JSON list that grows in a file of its own."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.count = 0

    def add(self, entry: dict[str, Any]) -> None:
        self.file.write(",\n" if self.count else "\n")
        self.file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False))
        self.count += 1


def _join(path: Path, head: dict[str, Any], parts: dict[str, _EntryList]) -> None:
    """Write the whole file: the small parts, then the long lists."""
    with open(path, "w") as file:
        file.write(json.dumps(head, indent=1).rstrip("}\n"))
        for name, entries in parts.items():
            file.write(f',\n "{name}": [')
            entries.file.seek(0)
            shutil.copyfileobj(entries.file, file)
            file.write("\n ]")
        file.write("\n}\n")


def _is_validation(scene: int, share: float) -> bool:
    """Whether a scene belongs to the validation part: evenly spread, and whole, so that no person is in both."""
    return int((scene + 1) * share) > int(scene * share)


def _image_entry(image_id: int, file_name: str, sample: Sample) -> dict[str, Any]:
    camera = sample.camera
    K = camera.K.copy()
    K[:2, 2] -= _PIXEL_CENTRE
    return {
        "id": image_id,
        "file_name": file_name,
        "width": camera.width,
        "height": camera.height,
        "license": 1,
        "key": sample.key,
        "scene": sample.scene,
        "frame": sample.frame,
        "view": sample.view,
        "camera": {"K": K.tolist(), "cam_from_world": camera.cam_from_world.tolist()},
    }


def _annotation(
    annotation_id: int, image_id: int, sample: Sample, subject: Subject, skeleton: Skeleton
) -> dict[str, Any]:
    joints = derive_joints(subject, skeleton, sample.camera)
    v = np.where(joints.visibility == OUTSIDE, 0, np.where(joints.visibility == VISIBLE, 2, 1))
    at = np.where(v[:, None] > 0, np.round(joints.joints_px - _PIXEL_CENTRE, 3), 0.0)
    keypoints = [number for (x, y), level in zip(at.tolist(), v.tolist(), strict=True) for number in (x, y, level)]
    encoded = rle.encode(np.asfortranarray(sample.mask == subject.id, dtype=np.uint8))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1 + _CATEGORIES.index(subject.species),
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": int((v > 0).sum()),
        "bbox": subject.box_px.tolist(),
        "area": int(rle.area(encoded)),
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
        "visibility": joints.visibility.tolist(),
        "keypoints_cam_m": np.round(joints.joints_cam_m, 6).tolist(),
        "occlusion": round(subject.occlusion, 4),
        "truncation": round(subject.truncation, 4),
    }


def _head(manifest: Manifest, skeletons: dict[int, Skeleton]) -> dict[str, Any]:
    assets = sorted({f"{entry['asset']} {entry['licence']}" for entry in manifest.licences if "asset" in entry})
    return {
        "info": {
            "description": f"{manifest.name}, rendered by posesynth",
            "version": version("posesynth"),
            "recipe_hash": manifest.recipe_hash,
            "assets": assets,
            "pixel_origin": "centre of the top-left pixel for keypoints and K, its outer corner for bbox",
        },
        "licenses": [{"id": 1, "name": "rendered pictures are their maker's; for the assets see info", "url": ""}],
        "categories": [_category(number, used) for number, used in sorted(skeletons.items())],
    }


def _category(number: int, skeleton: Skeleton) -> dict[str, Any]:
    species = _CATEGORIES[number - 1]
    return {
        "id": number,
        "name": "person" if species == "human" else species,
        "supercategory": "person" if species == "human" else "animal",
        "keypoints": list(skeleton.joints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.edges],
        "sigmas": list(skeleton.sigmas),
    }
