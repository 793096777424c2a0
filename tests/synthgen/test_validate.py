"""A dataset broken in each way that validate claims to find is found."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posecore.codec import decode, encode
from posecore.dataset import Shard, ShardWriter, read_manifest, read_records, write_manifest
from posecore.sample import Sample, Subject
from posecore.skeleton import load_skeleton
from synthgen.generate import render_dataset
from synthgen.library import SubjectLibrary
from synthgen.preview import write_preview
from synthgen.recipe import load_recipe
from synthgen.validate import validate_dataset

SHARD = "tiny_humans-000000.tar"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, library: SubjectLibrary) -> Path:
    out = tmp_path_factory.mktemp("sound") / "data"
    render_dataset(load_recipe("tiny_humans", ("count=4",)), out, num_workers=1, resume=False)
    return out


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def rewrite(data: Path, change: Callable[[dict[str, dict[str, bytes]]], None], keep_hash: bool = True) -> None:
    """Change the records of the first shard, with the manifest's hash made right again."""
    with open(data / SHARD, "rb") as file:
        records = dict(read_records(file, SHARD))
    change(records)
    with ShardWriter(data / SHARD) as writer:
        for key, members in records.items():
            writer.add(key, members)
    manifest = read_manifest(data)
    if keep_hash:
        write_manifest(data, replace(manifest, shards=(replace(writer.shard, count=manifest.shards[0].count),)))


def change_subject(
    change: Callable[[Subject, Sample], dict[str, object]],
) -> Callable[[dict[str, dict[str, bytes]]], None]:
    def apply(records: dict[str, dict[str, bytes]]) -> None:
        key = next(iter(records))
        sample = decode(records[key])
        subject = sample.subjects[0]
        broken = replace(sample, subjects=(replace(subject, **change(subject, sample)),))
        records[key] = encode(broken, "png")

    return apply


def swap_sides(subject: Subject, sample: Sample) -> dict[str, object]:
    swap = list(load_skeleton("human").swap)
    return {
        name: getattr(subject, name)[swap] for name in ("joints_px", "joints_cam_m", "joints_world_m", "visibility")
    }


def shift_all(subject: Subject, sample: Sample) -> dict[str, object]:
    """Move the joints consistently in 2D and 3D, away from the pictured body."""
    aside = sample.camera.cam_from_world[:3, :3].T @ np.array([0.8, 0, 0])
    world = subject.joints_world_m + aside
    cam = subject.joints_cam_m + np.array([0.8, 0, 0])
    K = sample.camera.K
    px = cam[:, :2] / cam[:, 2:] * K[0, 0] + K[:2, 2]
    inside = ((px >= 0) & (px < sample.camera.width)).all(axis=1)
    visibility = np.where(inside, 3, 0).astype(np.uint8)
    return {"joints_world_m": world, "joints_cam_m": cam, "joints_px": px, "visibility": visibility}


def edit_meta(change: Callable[[dict], None]) -> Callable[[dict[str, dict[str, bytes]]], None]:
    def apply(records: dict[str, dict[str, bytes]]) -> None:
        members = next(iter(records.values()))
        meta = json.loads(members["meta.json"])
        change(meta)
        members["meta.json"] = json.dumps(meta).encode()

    return apply


BREAKS = {
    "a joint off by a pixel": (
        change_subject(lambda s, _: {"joints_px": s.joints_px + np.array([1.0, 0])}), "project 1.000 px away",
    ),
    "joints in another world": (
        change_subject(lambda s, _: {"joints_world_m": s.joints_world_m + 0.1}), "world and camera joints disagree",
    ),
    "sides exchanged": (change_subject(swap_sides), "left and right are swapped"),
    "joints beside the body": (change_subject(shift_all), "off the mask"),
    "a loose box": (change_subject(lambda s, _: {"box_px": s.box_px + 1}), "not tight"),
    "a wrong visibility": (
        change_subject(lambda s, _: {"visibility": np.zeros_like(s.visibility)}), "outside the frame do not agree",
    ),
    "a picture that does not decode": (
        lambda r: next(iter(r.values())).update({"image.png": b"no picture"}), "does not decode",
    ),
    "a member missing": (lambda r: next(iter(r.values())).pop("mask.png"), "mask.png missing"),
    "a field missing": (edit_meta(lambda m: m["subjects"][0].pop("joints_px")), "lacks or garbles a field"),
    "another key inside": (edit_meta(lambda m: m.update(key="00000009-00-00")), "says its key is 00000009-00-00"),
    "another recipe": (edit_meta(lambda m: m["provenance"].update(recipe_hash="f" * 64)), "by another recipe"),
    "another format version": (edit_meta(lambda m: m.update(format_version=7)), "format version 7"),
    "a sample gone": (lambda r: r.pop(next(iter(r))), "holds 3 samples, the manifest says 4"),
}  # fmt: skip


def test_a_sound_dataset_has_no_problems(data: Path) -> None:
    assert list(validate_dataset(data)) == []


@pytest.mark.parametrize("name", BREAKS)
def test_each_break_is_found_and_named(data: Path, name: str) -> None:
    change, message = BREAKS[name]
    rewrite(data, change)
    problems = list(validate_dataset(data))
    assert any(message in problem for problem in problems), problems
    assert all(problem.startswith("tiny_humans-0") and "\n" not in problem for problem in problems)


def test_a_changed_byte_is_found_by_the_hash(data: Path) -> None:
    content = bytearray((data / SHARD).read_bytes())
    content[600] ^= 1
    (data / SHARD).write_bytes(content)
    assert any("sha256 is not the manifest's" in problem for problem in validate_dataset(data))


def test_a_truncated_shard_is_found(data: Path) -> None:
    content = (data / SHARD).read_bytes()
    (data / SHARD).write_bytes(content[: len(content) // 2])
    problems = list(validate_dataset(data))
    assert any("damaged or truncated" in problem for problem in problems)
    assert any("the manifest says 4" in problem for problem in problems)


def test_missing_and_unlisted_shards_are_found(data: Path) -> None:
    (data / SHARD).rename(data / "other.tar")
    problems = list(validate_dataset(data))
    assert any("missing, though" in problem for problem in problems)
    assert any(problem.startswith("other.tar: not listed") for problem in problems)


def test_a_key_that_occurs_twice_is_found(data: Path) -> None:
    shutil.copy(data / SHARD, data / "again.tar")
    manifest = read_manifest(data)
    twice = (*manifest.shards, Shard("again.tar", manifest.shards[0].count, manifest.shards[0].sha256))
    write_manifest(data, replace(manifest, shards=twice))
    assert any("occurs twice" in problem for problem in validate_dataset(data))


def test_a_preview_shows_as_many_tiles_as_asked(data: Path) -> None:
    import cv2

    write_preview(data, data / "sheet.png", count=4, columns=2)
    sheet = cv2.imread(str(data / "sheet.png"))
    assert sheet.shape == (2 * 260 + 4, 2 * 260 + 4, 3)
    assert all(tile.std() > 10 for half in np.split(sheet[4:], 2) for tile in np.split(half[:, 4:], 2, axis=1))
