"""What COCO's own tools find in an exported dataset."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posecore.camera import project_cam
from posecore.codec import decode, encode
from posecore.dataset import Manifest, ShardWriter, iterate_dataset, write_manifest
from posecore.errors import UserError
from posecore.sample import HIDDEN_BY_SELF, OUTSIDE, VISIBLE, Sample
from posecore.skeleton import load_skeleton
from synthgen.datasets.coco import export_coco


def samples(data: Path) -> list[Sample]:
    return [decode(members) for _, members in iterate_dataset(data)]


def write_dataset(folder: Path, records: list[Sample]) -> Path:
    folder.mkdir()
    with ShardWriter(folder / "x-000000.tar") as writer:
        for sample in records:
            writer.add(sample.key, encode(sample, "png"))
    write_manifest(folder, Manifest(name="x", kind="synthetic", shards=(writer.shard,)))
    return folder


@pytest.mark.parametrize("name", ["people", "animals"])
def test_fed_back_as_detections_the_annotations_have_ap_one(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    export_coco(request.getfixturevalue(name), tmp_path / "coco")
    truth = COCO(str(tmp_path / "coco" / "annotations" / "keypoints.json"))
    answers = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "keypoints": a["keypoints"], "score": 1.0}
        for a in truth.dataset["annotations"]
    ]
    evaluation = COCOeval(truth, truth.loadRes(answers), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1.0 and evaluation.stats[5] == 1.0


def test_masks_boxes_and_areas_are_those_of_the_stored_mask(people: Path, tmp_path: Path) -> None:
    export_coco(people, tmp_path / "coco")
    coco = COCO(str(tmp_path / "coco" / "annotations" / "keypoints.json"))
    for sample, image_id in zip(samples(people), coco.getImgIds(), strict=True):
        image = coco.loadImgs(image_id)[0]
        (annotation,) = coco.loadAnns(coco.getAnnIds(image_id))
        mask = coco.annToMask(annotation)
        assert np.array_equal(mask, sample.mask == 1) and annotation["area"] == mask.sum()
        assert annotation["bbox"] == sample.subjects[0].box_px.tolist() and annotation["iscrowd"] == 0
        picture = cv2.imread(str(tmp_path / "coco" / "images" / image["file_name"]), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(picture, sample.image) and (image["width"], image["height"]) == (64, 64)


def test_keypoints_count_from_pixel_centres_and_follow_the_camera_that_is_given(people: Path, tmp_path: Path) -> None:
    export_coco(people, tmp_path / "coco")
    content = json.loads((tmp_path / "coco" / "annotations" / "keypoints.json").read_text())
    images = {image["id"]: image for image in content["images"]}
    nose = load_skeleton("human").index("nose")
    for sample, annotation in zip(samples(people), content["annotations"], strict=True):
        points = np.array(annotation["keypoints"]).reshape(-1, 3)
        levels = np.array(annotation["visibility"])
        assert (points[:, 2] == np.where(levels == OUTSIDE, 0, np.where(levels == VISIBLE, 2, 1))).all()
        assert annotation["num_keypoints"] == (points[:, 2] > 0).sum()
        assert (points[levels == OUTSIDE] == 0).all()
        known = levels != OUTSIDE
        K = np.array(images[annotation["image_id"]]["camera"]["K"])
        projected = project_cam(K, np.array(annotation["keypoints_cam_m"]))
        assert np.allclose(points[known, :2], projected[known], atol=2e-3)
        if known[0]:
            assert np.allclose(points[0, :2], sample.subjects[0].joints_px[nose] - 0.5, atol=1e-3)


def test_each_level_of_visibility_becomes_cocos_own(people: Path, tmp_path: Path) -> None:
    sample = samples(people)[0]
    subject = sample.subjects[0]
    inside = np.flatnonzero(subject.visibility != OUTSIDE)
    visibility = np.where(subject.visibility == OUTSIDE, OUTSIDE, HIDDEN_BY_SELF).astype(np.uint8)
    visibility[inside[::2]] = VISIBLE
    changed = replace(sample, subjects=(replace(subject, visibility=visibility),))
    export_coco(write_dataset(tmp_path / "data", [changed]), tmp_path / "coco", skeleton="human")
    content = json.loads((tmp_path / "coco" / "annotations" / "keypoints.json").read_text())
    points = np.array(content["annotations"][0]["keypoints"]).reshape(-1, 3)
    assert set(points[inside[::2], 2]) == {2} and set(points[inside[1::2], 2]) == {1}


def test_several_subjects_have_rows_of_their_own_and_unseen_ones_none(people: Path, tmp_path: Path) -> None:
    sample = samples(people)[0]
    first = sample.subjects[0]
    mask = sample.mask.copy()
    mask[:4, :4] = 2
    second = replace(first, id=2, box_px=np.array([0.0, 0, 4, 4]))
    unseen = replace(first, id=3, box_px=np.zeros(4), occlusion=1.0)
    crowd = replace(sample, mask=mask, subjects=(first, second, unseen))
    data = write_dataset(tmp_path / "data", [crowd])
    summary = export_coco(data, tmp_path / "coco")
    assert summary.hidden_subjects == 1 and summary.files == {"keypoints": (1, 2)}
    annotations = json.loads((tmp_path / "coco" / "annotations" / "keypoints.json").read_text())["annotations"]
    assert [a["id"] for a in annotations] == [1, 2] and annotations[1]["area"] == 16


def test_categories_name_keypoints_and_count_edges_from_one(animals: Path, tmp_path: Path) -> None:
    export_coco(animals, tmp_path / "coco")
    content = json.loads((tmp_path / "coco" / "annotations" / "keypoints.json").read_text())
    assert {a["category_id"] for a in content["annotations"]} == {c["id"] for c in content["categories"]}
    for category in content["categories"]:
        skeleton = load_skeleton("ap10k17")
        assert category["supercategory"] == "animal" and tuple(category["keypoints"]) == skeleton.joints
        assert [[a - 1, b - 1] for a, b in category["skeleton"]] == [list(edge) for edge in skeleton.edges]


def test_a_split_keeps_scenes_whole_and_ids_as_they_are_without_it(people: Path, tmp_path: Path) -> None:
    export_coco(people, tmp_path / "whole")
    summary = export_coco(people, tmp_path / "split", validation_share=0.25)
    assert summary.files == {"keypoints_train": (6, 6), "keypoints_val": (2, 2)}
    whole, train, validation = (
        json.loads((tmp_path / path).read_text())
        for path in (
            "whole/annotations/keypoints.json",
            "split/annotations/keypoints_train.json",
            "split/annotations/keypoints_val.json",
        )
    )
    assert {i["scene"] for i in train["images"]}.isdisjoint(i["scene"] for i in validation["images"])
    for part in ("images", "annotations"):
        assert sorted(train[part] + validation[part], key=lambda entry: entry["id"]) == whole[part]


def test_the_same_dataset_gives_the_same_bytes(people: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_coco(people, tmp_path / name)
    first, second = ((tmp_path / name / "annotations" / "keypoints.json").read_bytes() for name in ("a", "b"))
    assert first == second


def test_what_cannot_be_exported_is_named_and_leaves_nothing(
    people: Path, animals: Path, footage: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="'coco17' cannot be had from 'quadruped'"):
        export_coco(animals, out, skeleton="coco17")
    with pytest.raises(UserError, match="unlabelled footage"):
        export_coco(footage, out)
    with pytest.raises(UserError, match=r"no dataset\.json"):
        export_coco(tmp_path / "nowhere", out)
    (tmp_path / "empty").mkdir()
    write_manifest(tmp_path / "empty", Manifest(name="x", kind="synthetic", shards=()))
    with pytest.raises(UserError, match="empty"):
        export_coco(tmp_path / "empty", out)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(UserError, match="not empty"):
        export_coco(people, out)
