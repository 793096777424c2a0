"""StanfordExtra: the json, the splits beside it, silhouettes as RLE, PCK by dog."""

import json

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.stanford_extra import BENCHMARK

rle = pytest.importorskip("pycocotools.mask")

WIDTH, HEIGHT = 80, 60


def dog(name, places, area=400):
    silhouette = np.zeros((HEIGHT, WIDTH), np.uint8)
    silhouette.ravel()[:area] = 1
    return {
        "img_path": name, "img_width": WIDTH, "img_height": HEIGHT, "joints": places, "img_bbox": [5, 6, 50, 40],
        "is_multiple_dogs": False, "seg": rle.encode(np.asfortranarray(silhouette))["counts"].decode(),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path, picture_at):
    whole = [[10.0 + 2 * k, 8.0 + k, 1.0] for k in range(20)] + [[0.0, 0.0, 0.0]] * 4
    paws = [[10.0 + 2 * k, 8.0 + k, 1.0] if k in (0, 3) else [0.0, 0.0, 0.0] for k in range(24)]
    names = ["n02085620-Chihuahua/a.jpg", "n02085620-Chihuahua\\b.jpg", "n02099601-golden_retriever/c.jpg"]
    dogs = [dog(names[0], whole), dog(names[1], paws), dog(names[2], [[0.0, 0.0, 0.0]] * 24)]
    (tmp_path / "StanfordExtra_v12.json").write_text(json.dumps(dogs))
    np.save(tmp_path / "test_stanford_StanfordExtra_v12.npy", np.array([1, 0, 2]))
    np.save(tmp_path / "val_stanford_StanfordExtra_v12.npy", np.array([0]))
    for name in names:
        picture_at(tmp_path / "Images" / name.replace("\\", "/"), WIDTH, HEIGHT)
    return tmp_path


def test_the_split_decides_and_unlabelled_joints_are_nan(folder, read):
    _, samples, left_out = read(BENCHMARK, folder, "quadruped")
    assert [sample.key for sample in samples] == ["b-1", "a-0"]
    assert left_out == {"dogs without a labelled joint": 1}
    assert np.isfinite(samples[0].joints_px).all(1).nonzero()[0].tolist() == [0, 3]
    np.testing.assert_allclose(samples[0].joints_px[3], [16.5, 11.5])
    assert samples[0].picture.is_file() and samples[0].species == "Chihuahua"
    assert samples[0].scale_px == pytest.approx(20)
    assert samples[0].box_px == (5, 6, 50, 40)
    assert [sample.key for sample in read(BENCHMARK, folder, "quadruped", split="val")[1]] == ["a-0"]
    assert [sample.key for sample in read(BENCHMARK, folder, "quadruped", split="all")[1]] == ["a-0", "b-1"]


def test_pck_is_taken_by_dog(folder, read, answers_of):
    opened, samples, _ = read(BENCHMARK, folder, "quadruped")
    answers = answers_of(opened, samples, "quadruped")
    # One of the two joints of the first dog (paws alone) is off by 2.5 px: between 0.10 and 0.15 of 20 px.
    answers.joints_px[0, answers.joints.names.index("Left rear leg: paw")] += [2.5, 0]
    score = BENCHMARK.score(answers)
    assert score["pck_area_015"]["value"] == 1
    assert score["pck_area_010"]["value"] == pytest.approx((0.5 + 1) / 2)
    assert score["by_part"]["tail"]["pck_area_010"]["value"] == 1
    assert set(score["by_part"]) == {"legs", "tail", "ears", "face"}


def test_what_has_no_partner_is_not_judged(folder, read, answers_of):
    opened, samples, _ = read(BENCHMARK, folder, "quadruped")
    joints = answers_of(opened, samples, "ap10k17").joints
    assert joints.without_partner == ("Chin", "Left ear tip", "Right ear tip")
    assert "Tail end" in joints.unknown_to_model, "AP-10K has no tip of the tail"
    assert {"Left front leg: middle joint", "Left rear leg: middle joint"} <= set(joints.names)
    assert "Left rear leg: top" in joints.names


def test_a_joint_map_changes_what_it_names_and_nothing_else(folder, read):
    given = {"Left ear tip": ("left_ear",), "Base of left ear": ()}
    table = read(BENCHMARK, folder, "quadruped", joint_map=given)[0].joints
    partners = dict(zip(table.names, table.partners, strict=True))
    assert partners["Left ear tip"] == ("left_ear",) and partners["Base of left ear"] == ()
    assert partners["Nose"] == ("nose",)
    with pytest.raises(UserError, match="has no Beak"):
        read(BENCHMARK, folder, "quadruped", joint_map={"Beak": ("nose",)})


def test_splits_of_another_version_are_refused(folder, read):
    np.save(folder / "test_stanford_StanfordExtra_v12.npy", np.array([12]))
    with pytest.raises(UserError, match="names number 12"):
        read(BENCHMARK, folder, "quadruped")
