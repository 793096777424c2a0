"""A dataset broken in each way that validate claims to find is found, and a sound one is not complained of."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posecore.camera import project_cam
from posecore.codec import decode, encode
from posecore.dataset import Manifest, Shard, ShardWriter, read_manifest, read_records, write_manifest
from posecore.sample import (
    HIDDEN_BY_OTHER,
    HIDDEN_BY_SELF,
    OUTSIDE,
    Sample,
    Subject,
    inside_frame,
    tight_box,
)
from posecore.skeleton import load_skeleton
from posecore.transforms import invert_rigid, transform_points
from synthgen.datasets.sample_checks import FaultCounts
from synthgen.datasets.validate import validate_dataset
from synthgen.generate import render_dataset
from synthgen.library import SubjectLibrary
from synthgen.recipe import load_recipe

Records = dict[str, dict[str, bytes]]
Break = Callable[[Records], None]

SHARD = "tiny_humans-000000.tar"
HUMAN = load_skeleton("human")
ASIDE_M = np.array([0.9, 0, 0])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, library: SubjectLibrary) -> Path:
    """Two shards of one scene each: an upright person, two frames, two views."""
    changes = ("count=8", "views_per_frame=2", "scenes_per_shard=1", "subject.pose.clips=walk", "world.occluders=0")
    out = tmp_path_factory.mktemp("sound") / "data"
    recipe = load_recipe("tiny_humans", (*changes, "camera.fill=0.8", "camera.shift=0"))
    render_dataset(recipe, out, num_workers=1, resume=False)
    return out


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def rewrite(data: Path, change: Break) -> None:
    """Change the records of the first shard, with the manifest's hash made right again."""
    manifest = read_manifest(data)
    first = manifest.shards[0]
    with open(data / first.file, "rb") as file:
        records = dict(read_records(file, first.file))
    change(records)
    with ShardWriter(data / first.file) as writer:
        for key, members in records.items():
            writer.add(key, members)
    write_manifest(data, replace(manifest, shards=(replace(writer.shard, count=first.count), *manifest.shards[1:])))


def in_sample(change: Callable[[Sample], Sample], number: int = 0) -> Break:
    def apply(records: Records) -> None:
        key = list(records)[number]
        records[key] = encode(change(decode(records[key])), "png")

    return apply


def in_subject(change: Callable[[Subject, Sample], dict[str, Any]], number: int = 0) -> Break:
    def apply(sample: Sample) -> Sample:
        subject = sample.subjects[0]
        return replace(sample, subjects=(replace(subject, **change(subject, sample)),))

    return in_sample(apply, number)


def in_meta(change: Callable[[dict[str, Any]], Any], number: int = 0) -> Break:
    def apply(records: Records) -> None:
        members = list(records.values())[number]
        meta = json.loads(members["meta.json"])
        change(meta)
        members["meta.json"] = json.dumps(meta).encode()

    return apply


def placed(joints_cam_m: np.ndarray, sample: Sample, subject: Subject) -> dict[str, Any]:
    """A subject's joints moved in space, all that follows from them kept right but for the picture."""
    joints_px = project_cam(sample.camera.K, joints_cam_m)
    inside = inside_frame(joints_px, sample.camera.width, sample.camera.height)
    visibility = np.where(inside, np.maximum(subject.visibility, HIDDEN_BY_OTHER), OUTSIDE).astype(np.uint8)
    world = transform_points(invert_rigid(sample.camera.cam_from_world), joints_cam_m)
    return {"joints_cam_m": joints_cam_m, "joints_world_m": world, "joints_px": joints_px, "visibility": visibility}


def swapped_sides(subject: Subject, sample: Sample) -> dict[str, Any]:
    names = ("joints_px", "joints_cam_m", "joints_world_m", "visibility")
    return {name: getattr(subject, name)[list(HUMAN.swap)] for name in names}


def bent_arm(subject: Subject, sample: Sample) -> dict[str, Any]:
    joints = subject.joints_cam_m.copy()
    shoulder, elbow = HUMAN.index("left_shoulder"), HUMAN.index("left_elbow")
    across = np.cross(joints[elbow] - joints[shoulder], [0.0, 0.0, 1.0])
    joints[elbow] = joints[shoulder] + across
    return placed(joints, sample, subject)


def all_levels(new: int) -> Callable[[Subject, Sample], dict[str, Any]]:
    """All joints inside the frame marked alike."""
    return lambda s, _: {"visibility": np.where(s.visibility == OUTSIDE, OUTSIDE, new).astype(np.uint8)}


def outside_levels(subject: Subject, sample: Sample) -> dict[str, Any]:
    return {"visibility": np.zeros_like(subject.visibility)}


def moved_camera(sample: Sample, **changes: float) -> Sample:
    """Another K, and 2D joints that follow it."""
    K = sample.camera.K.copy()
    for name, value in changes.items():
        K[int(name[1]), int(name[2])] = value
    subject = sample.subjects[0]
    joints_px = np.stack([K[i, i] * subject.joints_cam_m[:, i] / subject.joints_cam_m[:, 2] for i in range(2)], axis=1)
    inside = inside_frame(joints_px + K[:2, 2], sample.camera.width, sample.camera.height)
    levels = np.where(inside, np.maximum(subject.visibility, HIDDEN_BY_OTHER), OUTSIDE).astype(np.uint8)
    changed = replace(subject, joints_px=joints_px + K[:2, 2], visibility=levels)
    return replace(sample, camera=replace(sample.camera, K=K), subjects=(changed,))


def without_mask(sample: Sample) -> Sample:
    subject = replace(sample.subjects[0], box_px=np.zeros(4))
    return replace(sample, mask=np.zeros_like(sample.mask), parts=np.zeros_like(sample.parts), subjects=(subject,))


def with_elsewhere_mask(sample: Sample) -> Sample:
    """The mask is a rectangle in a corner."""
    mask = np.zeros_like(sample.mask)
    mask[:6, :6] = 1
    subject = replace(sample.subjects[0], box_px=tight_box(mask == 1))
    return replace(sample, mask=mask, parts=mask, depth_m=np.ones_like(sample.depth_m), subjects=(subject,))


def of_layers(sample: Sample, **layers: Any) -> Sample:
    return replace(sample, **{name: change(getattr(sample, name)) for name, change in layers.items()})


RECORD_BREAKS: dict[str, tuple[Break, str]] = {
    # the sample and its camera
    "a joint off by a pixel": (
        in_subject(lambda s, _: {"joints_px": s.joints_px + np.array([1.0, 0])}), "project 1.000 px away",
    ),
    "joints in another world": (
        in_subject(lambda s, _: {"joints_world_m": s.joints_world_m + 0.1}), "world and camera joints disagree",
    ),
    "a coordinate that is no number": (
        in_meta(lambda m: m["subjects"][0]["joints_px"][3].__setitem__(0, float("nan"))), "not finite",
    ),
    "a camera that is not rigid": (
        in_sample(lambda s: replace(s, camera=replace(s.camera, cam_from_world=s.camera.cam_from_world * 1.1))),
        "not a rigid transform",
    ),
    "a K with skew": (in_meta(lambda m: m["camera"]["K"][0].__setitem__(1, 0.5)), "K has skew"),
    "pixels that are not square": (in_sample(lambda s: moved_camera(s, K00=s.camera.K[0, 0] * 1.5)), "square pixels"),
    "a field of view beyond any lens": (in_sample(lambda s: moved_camera(s, K00=1e4, K11=1e4)), "field of view is 0.4"),
    "an optical axis out of the picture": (in_sample(lambda s: moved_camera(s, K02=-50.0)), "outside of it, at (-50"),
    # visibility, boxes, shares
    "all joints said to be outside": (in_subject(outside_levels), "outside the frame do not agree"),
    "a level of visibility that there is not": (
        in_subject(lambda s, _: {"visibility": np.full_like(s.visibility, 7)}), "values other than 0..3",
    ),
    "a loose box": (in_subject(lambda s, _: {"box_px": s.box_px + 1}), "not tight"),
    "an occlusion above one": (in_subject(lambda s, _: {"occlusion": 1.5}), "occlusion is 1.5"),
    "a truncation below zero": (in_subject(lambda s, _: {"truncation": -0.1}), "truncation is -0.1"),
    "no truncation though joints are outside": (
        in_subject(lambda s, f: {**placed(s.joints_cam_m + ASIDE_M, f, s), "truncation": 0.0}),
        "truncation is 0, but a joint lies",
    ),
    "full truncation of somebody in the picture": (in_subject(lambda s, _: {"truncation": 1.0}), "truncation is 1"),
    # joints against mask and depth
    "joints beside the body": (
        in_subject(lambda s, f: placed(s.joints_cam_m + ASIDE_M / 2, f, s)), "off the subject's mask",
    ),
    "a mask elsewhere": (in_sample(with_elsewhere_mask), "off the subject's mask"),
    "no mask of somebody visible": (in_sample(without_mask), "mask has no pixel of the subject"),
    "an id in the mask that nobody bears": (
        in_sample(lambda s: of_layers(s, mask=lambda m: np.where(m > 0, 9, m))), "ids [9] that no subject bears",
    ),
    "a depth in other units": (
        in_sample(lambda s: of_layers(s, depth_m=lambda d: d * np.float16(3.28))), "far from the surface",
    ),
    "hidden joints with nothing before them": (
        in_sample(lambda s: replace(
            s, subjects=(replace(s.subjects[0], **all_levels(HIDDEN_BY_SELF)(s.subjects[0], s)),),
            depth_m=np.full_like(s.depth_m, 50),
        )),
        "nothing lies in front",
    ),
    "joints hidden by somebody who is not there": (
        in_sample(lambda s: replace(with_elsewhere_mask(s), subjects=(replace(
            with_elsewhere_mask(s).subjects[0], **all_levels(HIDDEN_BY_SELF)(s.subjects[0], s)),))),
        "by the subject itself, where it is not seen",
    ),
    "joints hidden by others where there are none": (
        in_sample(lambda s: replace(
            s, mask=np.ones_like(s.mask), parts=np.ones_like(s.parts), depth_m=np.ones_like(s.depth_m),
            normal=np.full_like(s.normal, 201),
            subjects=(replace(s.subjects[0], **all_levels(HIDDEN_BY_OTHER)(s.subjects[0], s),
                              box_px=np.array([0.0, 0, 64, 64])),),
        )),
        "where only the subject is seen",
    ),
    # sides, rotations, bones
    "sides exchanged": (in_subject(swapped_sides), "left and right are swapped"),
    "rotations of another length": (in_subject(lambda s, _: {"rotations": s.rotations * 1.1}), "not orthonormal"),
    "rotations with slanted columns": (
        in_subject(lambda s, _: {"rotations": s.rotations[:, [0, 1, 2, 0, 1, 2]]}), "not orthonormal",
    ),
    "rotations of another pose": (
        in_subject(lambda s, _: {"rotations": np.tile([1.0, 0, 0, 0, 0, 1], (HUMAN.num_joints, 1))}),
        "rotations do not lead to the joints",
    ),
    "an arm bent elsewhere": (in_subject(bent_arm), "the bone to left_elbow points elsewhere"),
    "a larger body in the second frame": (
        in_subject(lambda s, f: placed(s.joints_cam_m * 1.2, f, s), 2), "is not that of the scene's first frame",
    ),
    # layers
    "a blank picture": (in_sample(lambda s: of_layers(s, image=np.zeros_like)), "the picture is blank"),
    "a picture of another size": (in_sample(lambda s: of_layers(s, image=lambda i: i[:32])), "image is (32, 64, 3)"),
    "a mask of another size": (in_sample(lambda s: of_layers(s, mask=lambda m: m[:32])), "mask is (32, 64)"),
    "a depth of another size": (in_sample(lambda s: of_layers(s, depth_m=lambda d: d[:32])), "depth is 64 x 32"),
    "parts without a mask": (
        in_sample(lambda s: of_layers(s, parts=lambda p: np.roll(p, 20, axis=1))), "parts and mask disagree",
    ),
    "depth below zero": (in_sample(lambda s: of_layers(s, depth_m=lambda d: d - np.float16(9))), "not above 0"),
    "no depth on the subject": (
        in_sample(lambda s: of_layers(s, depth_m=lambda d: np.full_like(d, np.inf))), "depth is infinite where",
    ),
    "normals that are none": (in_sample(lambda s: of_layers(s, normal=lambda n: np.full_like(n, 128))), "unit length"),
    "a layer missing": (lambda r: next(iter(r.values())).pop("depth.npz"), "depth.npz missing, which the recipe"),
    "a picture that does not decode": (
        lambda r: next(iter(r.values())).update({"image.png": b"no picture"}), "does not decode",
    ),
    "a mask missing": (lambda r: next(iter(r.values())).pop("mask.png"), "mask.png missing"),
    # keys, scenes, provenance
    "a field missing": (in_meta(lambda m: m["subjects"][0].pop("joints_px")), "lacks or garbles a field"),
    "another key inside": (in_meta(lambda m: m.update(key="00000009-00-00")), "says its key is 00000009-00-00"),
    "another scene than the key's": (in_meta(lambda m: m.update(scene=7)), "do not agree with the key"),
    "a key that is none": (lambda r: r.update({"abc": r.pop(next(iter(r)))}), "not a sample key"),
    "another format version": (in_meta(lambda m: m.update(format_version=7)), "format version 7"),
    "another recipe": (in_meta(lambda m: m["provenance"].update(recipe_hash="f" * 64)), "by another recipe"),
    "a sample gone": (lambda r: r.pop(list(r)[1]), "lacks 1 samples, such as frame 0, view 1"),
    "fewer samples than counted": (lambda r: r.pop(next(iter(r))), "holds 3 samples, the manifest says 4"),
    "another lens in the second frame": (
        in_sample(lambda s: moved_camera(s, K00=90.0, K11=90.0), 2), "size or K of view 0 are not those",
    ),
    "another place in the second view": (
        in_subject(lambda s, f: placed(s.joints_cam_m + 0.02, f, s), 1), "not where the other views of frame 0",
    ),
    "somebody else in the second frame": (in_subject(lambda s, _: {"shape": {"age": 0.1}}, 2), "is somebody else"),
    "two subjects of one id": (
        in_sample(lambda s: replace(s, subjects=s.subjects * 2)), "two subjects have the same id",
    ),
    "a skeleton that there is not": (in_meta(lambda m: m["subjects"][0].update(skeleton="octopus")), "'octopus'"),
    "a scene that cannot be read": (
        in_meta(lambda m: m["provenance"]["spec"].pop("sensor")), "1 scenes cannot be rendered again",
    ),
    "no scene in the provenance": (in_meta(lambda m: m["provenance"].pop("spec")), "1 scenes cannot be rendered again"),
    "the scene of another sample": (
        in_meta(lambda m: m["provenance"]["spec"].update(scene=5)), "the scene in its provenance is another one",
    ),
    "a scene without that frame": (
        in_meta(lambda m: m["provenance"]["spec"]["frames"].clear()), "no such frame or view",
    ),
    "a scene that changes": (
        in_meta(lambda m: m["provenance"]["spec"].update(attempt=3), 1), "not that of the samples before it",
    ),
    "an asset without a licence": (
        in_meta(lambda m: m["provenance"]["assets"].append("hdri/mine")), "hdri/mine, whose licence is not listed",
    ),
}  # fmt: skip


MANIFEST_BREAKS: dict[str, tuple[Callable[[Manifest], dict[str, Any]], str]] = {
    "another kind": (lambda m: {"kind": "synthethic"}, "kind is 'synthethic'"),
    "no shards": (lambda m: {"shards": ()}, "the dataset is empty"),
    "a shard listed twice": (lambda m: {"shards": m.shards + m.shards[:1]}, f"{SHARD} is listed twice"),
    "another count": (lambda m: {"statistics": {"samples": 5}}, "statistics count 5 samples, the shards 8"),
    "another hash of the recipe": (lambda m: {"recipe_hash": "0" * 64}, "recipe_hash is not the recipe's"),
    "another seed": (lambda m: {"seed": 99}, "seed is 99, the recipe says"),
    "a recipe of another version": (
        lambda m: {"recipe": {**m.recipe, "moon": 1}}, "recipe cannot be read by this version (moon",
    ),
    "a skeleton with other joints": (
        lambda m: {"skeletons": m.skeletons | {"human": m.skeletons["human"] | {"joints": ["nose"]}}},
        "skeleton human has other joints",
    ),
    "a skeleton of unknown name": (lambda m: {"skeletons": m.skeletons | {"octopus": {}}}, "'octopus' is not known"),
    "no skeletons": (lambda m: {"skeletons": {}}, "skeleton human, which is not described"),
    "no licences": (lambda m: {"licences": []}, "body/anny, whose licence is not listed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["sound", "people", "animals", "footage"])
def test_a_sound_dataset_has_no_problems(name: str, request: pytest.FixtureRequest) -> None:
    assert list(validate_dataset(request.getfixturevalue(name))) == []


@pytest.mark.parametrize("name", RECORD_BREAKS)
def test_each_broken_sample_is_found_and_named(data: Path, name: str) -> None:
    change, message = RECORD_BREAKS[name]
    rewrite(data, change)
    problems = list(validate_dataset(data))
    assert any(message in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


@pytest.mark.parametrize("name", MANIFEST_BREAKS)
def test_each_broken_manifest_is_found(data: Path, name: str) -> None:
    change, message = MANIFEST_BREAKS[name]
    manifest = read_manifest(data)
    write_manifest(data, replace(manifest, **change(manifest)))
    problems = list(validate_dataset(data))
    assert any(message in problem for problem in problems), problems


def test_faults_of_single_joints_count_over_the_dataset() -> None:
    counts = FaultCounts()
    for number in range(100):
        counts.add(f"{number:08d}-00-00", "astray", 20, int(number % 4 == 3))
    assert counts.problems() == [
        "25 of 2000 joints (1.2%) are astray; up to 1% is usual, first in 00000003-00-00"
    ]  # fmt: skip
    counts.add("00000100-00-00", "astray", 2000, 0)
    assert counts.problems() == []


def test_a_few_wrong_levels_in_many_samples_are_found_over_the_dataset(data: Path) -> None:
    def two_wrong(subject: Subject, sample: Sample) -> dict[str, Any]:
        visibility = subject.visibility.copy()
        visibility[np.flatnonzero(visibility == HIDDEN_BY_SELF)[:2]] = HIDDEN_BY_OTHER
        return {"visibility": visibility}

    def in_all(records: Records) -> None:
        for number in range(len(records)):
            in_subject(two_wrong, number)(records)

    rewrite(data, in_all)
    (problem,) = validate_dataset(data)
    assert "joints (" in problem and "where only the subject is seen" in problem


def test_a_changed_byte_is_found_by_the_hash(data: Path) -> None:
    content = bytearray((data / SHARD).read_bytes())
    content[-5] ^= 1  # behind the last record, where no reader of records looks
    (data / SHARD).write_bytes(content)
    assert list(validate_dataset(data)) == [f"{SHARD}: its sha256 is not the manifest's; it was changed or damaged"]


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


REAL_BREAKS: dict[str, tuple[Break, str]] = {
    "a picture that does not decode": (
        lambda r: next(iter(r.values())).update({"image.jpg": b"no picture"}), "does not decode",
    ),
    "another key inside": (in_meta(lambda m: m.update(key="00000009-00-00")), "says its key is 00000009-00-00"),
    "a crop without area": (in_meta(lambda m: m.update(crop=[0, 0, 0, 5])), "has no area"),
    "frames in another order": (
        lambda r: [in_meta(lambda m, i=i: m.update(clip="a", frame=5 - i), i)(r) for i in range(2)],
        "comes after frame",
    ),
    "a clip in two pieces": (
        lambda r: [in_meta(lambda m, i=i: m.update(clip="aba"[i], frame=i), i)(r) for i in range(3)],
        "goes on after another clip began",
    ),
    "a field missing": (in_meta(lambda m: m.pop("clip")), "lacks or garbles a field"),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL_BREAKS)
def test_each_broken_real_frame_is_found(footage: Path, tmp_path: Path, name: str) -> None:
    data = Path(shutil.copytree(footage, tmp_path / "data"))
    change, message = REAL_BREAKS[name]
    rewrite(data, change)
    problems = list(validate_dataset(data))
    assert any(message in problem for problem in problems), problems


def test_a_dataset_is_checked_through_a_url_too(data: Path) -> None:
    assert list(validate_dataset(f"file://{data}")) == []
