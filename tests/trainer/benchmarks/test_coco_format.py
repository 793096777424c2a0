"""COCO and AP-10K: a folder as their archives unpack, labels in our pixels, AP as pycocotools has it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks import ap10k, coco

pytest.importorskip("pycocotools")

COCO17 = list(coco.BENCHMARK.joints.names)


def annotation(number, image, xyv, bbox, category=1, **more):
    keypoints = [v for triple in xyv for v in triple]
    return {
        "id": number, "image_id": image, "category_id": category, "bbox": bbox, "area": bbox[2] * bbox[3] / 2,
        "iscrowd": 0, "num_keypoints": sum(v > 0 for _, _, v in xyv), "keypoints": keypoints, "segmentation": [],
    } | more  # fmt: skip


def category(number, name, keypoints, family="x"):
    return {"id": number, "name": name, "supercategory": family, "keypoints": keypoints, "skeleton": [[1, 2]]}


@pytest.fixture
def coco_folder(tmp_path, picture_at):
    person = [(10 + 2 * k, 5 + k, 2) for k in range(16)] + [(0, 0, 0)]
    person[3] = (person[3][0], person[3][1], 1)
    other = [(20 + k, 40 - k, 2) for k in range(17)]
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "width": 64, "height": 48},
                   {"id": 3, "file_name": "000000000003.jpg", "width": 64, "height": 48}],
        "annotations": [
            annotation(70, 7, person, [8, 3, 40, 40]),
            annotation(31, 3, other, [15, 20, 30, 25]),
            annotation(32, 3, [(0, 0, 0)] * 17, [0, 0, 5, 5]),
            annotation(33, 3, other, [0, 0, 60, 40], iscrowd=1),
        ],
        "categories": [category(1, "person", COCO17)],
    }  # fmt: skip
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    for name in ("000000000007", "000000000003"):
        picture_at(tmp_path / "val2017" / f"{name}.jpg")
    return tmp_path


def test_labels_come_in_our_pixels_and_what_is_not_labelled_is_nan(coco_folder, read):
    _, samples, left_out = read(coco.BENCHMARK, coco_folder)
    assert [sample.key for sample in samples] == ["000000000003-31", "000000000007-70"]
    person = samples[1]
    np.testing.assert_allclose(person.joints_px[0], [10.5, 5.5])
    assert np.isnan(person.joints_px[16]).all() and np.isfinite(person.joints_px[:16]).all()
    assert person.visible.sum() == 15 and not person.visible[3] and not person.visible[16]
    assert person.box_px == (8, 3, 40, 40) and person.picture.is_file()
    assert person.scale_px == pytest.approx(np.sqrt(800))
    assert left_out == {"crowds": 1, "subjects without a labelled joint": 1}


def test_pictures_of_one_video_are_drawn_together(coco_folder, read):
    path = coco_folder / "annotations" / "person_keypoints_val2017.json"
    assert len({sample.cluster for sample in read(coco.BENCHMARK, coco_folder)[1]}) == 2
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["vid_id"] = "walk"
    path.write_text(json.dumps(content))
    assert {sample.cluster for sample in read(coco.BENCHMARK, coco_folder)[1]} == {"walk"}


def test_pictures_one_folder_deeper_are_found_too(coco_folder, read):
    (coco_folder / "images").mkdir()
    (coco_folder / "val2017").rename(coco_folder / "images" / "val2017")
    assert all(sample.picture.is_file() for sample in read(coco.BENCHMARK, coco_folder)[1])


def test_the_truth_has_an_ap_of_one_and_answers_far_away_none(coco_folder, read, answers_of):
    opened, samples, _ = read(coco.BENCHMARK, coco_folder)
    right = coco.BENCHMARK.score(answers_of(opened, samples, "human"))
    wrong = coco.BENCHMARK.score(answers_of(opened, samples, "human", off_px=(300.0, 0.0)))
    assert right["ap"]["value"] == pytest.approx(1) and right["ar"]["value"] == pytest.approx(1)
    assert wrong["ap"]["value"] == 0
    assert right["ap_large"] is None, "nobody is larger than 96 px here"


def test_ap_falls_where_oks_crosses_a_threshold(coco_folder, read, answers_of):
    # One joint alone, off by d: OKS is exp(-d^2 / (2 area (2 sigma)^2)) for everyone whose area is the same.
    opened, samples, _ = read(coco.BENCHMARK, coco_folder)
    alone = [samples[0]]
    sigmas = np.array([0.026, *[0.025] * 2, *[0.035] * 2, *[0.079] * 2, *[0.072] * 2, *[0.062] * 2, *[0.107] * 2,
                       *[0.087] * 2, *[0.089] * 2])  # fmt: skip
    area = alone[0].scale_px ** 2
    off = 2.0
    similarity = np.exp(-(off**2) / (2 * area * (2 * sigmas) ** 2)).mean()
    thresholds = np.linspace(0.5, 0.95, 10)
    score = coco.BENCHMARK.score(answers_of(opened, alone, "human", off_px=(off, 0.0)))
    assert 0.5 < similarity < 0.95
    assert score["ap"]["value"] == pytest.approx((thresholds <= similarity).mean())


def test_a_model_without_eyes_is_judged_on_the_rest(coco_folder, read, answers_of):
    opened, samples, _ = read(coco.BENCHMARK, coco_folder)
    answers = answers_of(opened, samples, "h36m17")
    assert set(answers.joints.unknown_to_model) == {"left_eye", "right_eye", "left_ear", "right_ear"}
    assert answers.joints_px.shape[1] == 13
    assert coco.BENCHMARK.score(answers)["ap"]["value"] == pytest.approx(1)


def test_ap10k_has_its_species_and_averages_over_them(tmp_path, picture_at, read, answers_of):
    names = list(ap10k.BENCHMARK.joints.names)
    xyv = [(10 + 2 * k, 5 + k, 2) for k in range(17)]
    content = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": 64, "height": 48} for n in (1, 2, 3)],
        "annotations": [annotation(n, n, xyv, [8, 3, 50, 40], c) for n, c in ((1, 1), (2, 1), (3, 26))],
        "categories": [category(1, "antelope", names, "Bovidae"), category(26, "lion", names)],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "ap10k-test-split1.json").write_text(json.dumps(content))
    for number in (1, 2, 3):
        picture_at(tmp_path / "data" / f"{number:012d}.jpg")
    opened, samples, _ = read(ap10k.BENCHMARK, tmp_path, "quadruped")
    assert [sample.species for sample in samples] == ["antelope", "antelope", "lion"]
    answers = answers_of(opened, samples, "quadruped")
    # The lion is missed: its species counts as much as that of the two antelopes.
    answers.joints_px[2] += 300
    assert ap10k.BENCHMARK.score(answers)["ap"]["value"] == pytest.approx(0.5)


def test_ap10k_is_matched_by_where_its_labels_lie():
    table = ap10k.BENCHMARK.joints
    partners = dict(zip(table.names, table.partners, strict=True))
    assert partners["left_shoulder"] == ("left_elbow",) and partners["left_elbow"] == ("left_carpus",)
    assert partners["left_hip"] == ("left_stifle",) and partners["left_knee"] == ("left_hock",)
    assert partners["root_of_tail"] == ("tail_root",)


def test_annotations_of_other_joints_are_refused(coco_folder, read):
    path = coco_folder / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(path.read_text())
    content["categories"][0]["keypoints"] = ["beak", "wing"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="beak"):
        read(coco.BENCHMARK, coco_folder)


def test_a_foreign_folder_is_one_line_that_says_what_was_looked_for(tmp_path, read):
    with pytest.raises(UserError, match=r"annotations/person_keypoints_val2017.json.*trainer benchmarks coco"):
        read(coco.BENCHMARK, tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read(ap10k.BENCHMARK, tmp_path / "none")


def with_3d(folder, to_all=True):
    """Our extension: each joint 3 m away, where a camera of 50 px focal length sees its keypoint."""
    path = folder / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["camera_K"] = [[50, 0, 32], [0, 50, 24], [0, 0, 1]]
    for number, entry in enumerate(content["annotations"]):
        x, y, _ = (np.array(entry["keypoints"], float).reshape(17, 3) + 0.5).T
        if to_all or number:
            entry["keypoints_3d_cam"] = np.column_stack([(x - 32) * 3 / 50, (y - 24) * 3 / 50, np.full(17, 3)]).tolist()
    path.write_text(json.dumps(content))


def test_3d_in_annotations_is_read_and_judged_from_the_hips(coco_folder, read, answers_of):
    with_3d(coco_folder)
    opened, samples, _ = read(coco.BENCHMARK, coco_folder)
    for sample in samples:
        projected = sample.joints_cam_m @ sample.camera_K.T
        known = np.isfinite(sample.joints_px).all(1)
        np.testing.assert_allclose((projected[:, :2] / projected[:, 2:])[known], sample.joints_px[known])
    answers = answers_of(opened, samples, "h36m17")
    truth = answers.true_joints_cam_m
    hips = [answers.joints.names.index(f"{side}_hip") for side in ("left", "right")]
    scores = coco.BENCHMARK.score(replace(answers, joints_cam_m=1.25 * truth))
    off = 0.25 * np.linalg.norm(truth - truth[:, hips].mean(1, keepdims=True), axis=-1)
    assert scores["mpjpe_hips_mm"]["value"] == pytest.approx(1000 * off.mean())
    assert scores["n_mpjpe_hips_mm"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["pa_mpjpe_hips_mm"]["value"] == pytest.approx(0, abs=1e-6)


def test_without_3d_there_are_no_scores_of_it_and_half_of_it_is_refused(coco_folder, read, answers_of):
    opened, samples, _ = read(coco.BENCHMARK, coco_folder)
    scores = coco.BENCHMARK.score(answers_of(opened, samples, "h36m17"))
    assert scores["ap"] is not None and scores["mpjpe_hips_mm"] is None
    with_3d(coco_folder, to_all=False)
    with pytest.raises(UserError, match=r"3 of 4 annotations have keypoints_3d_cam, 2 of 2 images camera_K"):
        read(coco.BENCHMARK, coco_folder)
