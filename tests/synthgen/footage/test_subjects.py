"""Whoever says where subjects are, files in every form or alpha, what is cut out is them."""

import json

import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from synthgen.footage.options import PackOptions
from synthgen.footage.pack import pack
from tests.rooms import HEIGHT, WIDTH, real_frames, scene_picture


def options(**changes) -> PackOptions:
    return PackOptions(**{"size_px": 96, "clip_frames": 10, "margin": 1.0, "min_subject_px": 32} | changes)


@pytest.fixture
def boxes_of(tmp_path):
    def write(content, name="boxes.json", **changes) -> PackOptions:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return options(subjects="boxes", boxes=path, **changes)

    return write


def crops(folder, clip=None):
    return [frame.crop for frame in real_frames(folder) if clip in (None, frame.clip)]


def clips(folder) -> dict[str, list[int]]:
    """Frames by clip."""
    found: dict[str, list[int]] = {}
    for frame in real_frames(folder):
        found.setdefault(frame.clip, []).append(frame.frame)
    return found


def walker_box(frame: int) -> list[float]:
    """Round the person of `walking`."""
    return [80 + 3 * frame - 50, 60, 100, 130]


def test_keyframes_are_followed_and_nothing_is_cut_beyond_them(walk, boxes_of, tmp_path):
    pack([walk], tmp_path / "out", boxes_of({"walk.mp4": {"5": walker_box(5), "34": walker_box(34)}}))
    frames = real_frames(tmp_path / "out")
    assert (frames[0].frame, frames[-1].frame) == (5, 34)
    for frame in frames:
        x, _, side, _ = frame.crop
        assert abs(x + side / 2 - (80 + 3 * frame.frame)) < 20


def as_coco(name: str, frames: range) -> list[dict]:
    return [{"image_id": frame, "category_id": 1, "bbox": walker_box(frame), "score": 0.9} for frame in frames]


def as_coco_with_images(name: str, frames: range) -> dict:
    images = [{"id": 900 + frame, "file_name": f"{name}#{frame:06d}"} for frame in frames]
    found = [one | {"image_id": 900 + one["image_id"]} for one in as_coco(name, frames)]
    return {"images": images, "annotations": found}


def as_table(name: str, frames: range) -> str:
    lines = [",".join(map(str, (name, frame, *walker_box(frame), 0.9))) for frame in frames]
    return "\n".join(["video,frame,x,y,width,height,score", *lines])


@pytest.mark.parametrize("form", [as_coco, as_coco_with_images, as_table])
def test_detections_of_each_frame_make_one_track_whatever_their_form(form, walk, boxes_of, tmp_path):
    name = "boxes.csv" if form is as_table else "boxes.json"
    summary = pack([walk], tmp_path / "out", boxes_of(form("walk.mp4", range(4, 40)), name))
    frames = real_frames(tmp_path / "out")
    assert [frame.frame for frame in frames] == list(range(4, 40))
    assert summary.rejects == {"without a box": 4}
    assert len(clips(tmp_path / "out")) == 4


def test_several_subjects_without_ids_are_told_apart_by_overlap(walk, boxes_of, tmp_path):
    """The walker, and a corner where nobody is; the order of the boxes changes from frame to frame."""
    corner = [200, 10, 60, 60]
    found = [
        {"image_id": frame, "category_id": 1, "bbox": box, "score": 0.9}
        for frame in range(40)
        for box in ([walker_box(frame), corner] if frame % 2 else [corner, walker_box(frame)])
    ]
    pack([walk], tmp_path / "out", boxes_of(found, clip_frames=40))
    by_side = {round(frame.crop[2]): frame.clip for frame in real_frames(tmp_path / "out")}
    assert len(by_side) == len(clips(tmp_path / "out"))
    assert not any(side < 100 for side in by_side)  # where nobody is nothing moves: those frames repeat


def test_ids_hold_where_boxes_do_not_overlap(walk, boxes_of, tmp_path):
    lines = ["frame,id,x,y,width,height"]
    for frame in range(40):
        shift = 28 * (frame % 2)  # too far for the overlap to link them
        lines.append(f"{frame},7,{100 + shift},{80 + shift},60,60")
    pack([walk], tmp_path / "out", boxes_of("\n".join(lines), "boxes.csv"))
    assert [number for numbers in clips(tmp_path / "out").values() for number in numbers] == list(range(40))


def test_short_gaps_between_boxes_are_bridged_and_long_ones_end_the_clip(walk, boxes_of, tmp_path):
    known = [*range(0, 8), *range(14, 20), *range(33, 40)]
    found = [{"image_id": frame, "category_id": 1, "bbox": walker_box(frame)} for frame in known]
    summary = pack([walk], tmp_path / "out", boxes_of(found, clip_frames=40))
    numbers = [number for numbers in clips(tmp_path / "out").values() for number in numbers]
    assert numbers == [*range(20), *range(33, 40)]
    assert summary.rejects["without a box"] == 13


def test_weak_detections_and_other_categories_do_not_count(walk, boxes_of, tmp_path):
    weak = [one | {"score": 0.2} for one in as_coco("walk.mp4", range(40))]
    with pytest.raises(UserError, match=r"none of its boxes fits a frame.*below --min-box-score"):
        pack([walk], tmp_path / "out", boxes_of(weak))
    assert pack([walk], tmp_path / "out", boxes_of(weak, min_box_score=0.1)).frames_kept == 40
    dogs = as_coco("walk.mp4", range(40)) + [one | {"category_id": 18} for one in as_coco("walk.mp4", range(20))]
    with pytest.raises(UserError, match="choose one with --box-category"):
        pack([walk], tmp_path / "dogs", boxes_of(dogs))
    assert pack([walk], tmp_path / "dogs", boxes_of(dogs, box_category=18)).frames_kept == 20


def test_boxes_by_number_alone_fit_one_video_only(walk, boxes_of, tmp_path):
    (tmp_path / "other.mp4").write_bytes(walk.read_bytes())
    with pytest.raises(UserError, match="numbers frames but names no video"):
        pack([walk, tmp_path / "other.mp4"], tmp_path / "out", boxes_of(as_coco("", range(40))))


def test_boxes_of_another_file_are_one_line_that_says_what_is_called_how(walk, boxes_of, tmp_path):
    with pytest.raises(UserError, match=r"it says other\.mp4, the footage is called walk\.mp4"):
        pack([walk], tmp_path / "out", boxes_of({"other.mp4": {"0": [1, 2, 30, 40]}}))


def test_each_box_of_a_photo_is_a_still_by_its_file_s_name(boxes_of, tmp_path):
    (tmp_path / "photos").mkdir()
    for number, width in ((1, 320), (2, 300)):
        left = scene_picture(80, 0.3)[:, :160]
        both = np.concatenate([left, scene_picture(240, 0.9)[:, 160:]], axis=1)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), both[:, :width, ::-1])
    content = {"1.png": [[30, 60, 100, 130], [190, 60, 100, 130], [10, 10, 8, 8]], "2.png": []}
    summary = pack([tmp_path / "photos"], tmp_path / "out", boxes_of(content))
    assert [(frame.source, frame.crop[0]) for frame in real_frames(tmp_path / "out")] == [("1.png", 15), ("1.png", 175)]
    assert summary.rejects == {"without a box": 1, "with a subject that is too small": 1}


def cut_out(person_x: int, swing: float) -> np.ndarray:
    """[H, W, 4]: the person opaque, the room transparent."""
    picture = scene_picture(person_x, swing)
    is_person = picture[..., 0].astype(int) - picture[..., 1:].max(axis=-1) > 80
    return np.dstack([picture, np.where(is_person, 255, 0).astype(np.uint8)])


def test_alpha_cuts_subjects_out_of_pictures(tmp_path):
    (tmp_path / "photos").mkdir()
    for number, x in enumerate((80, 160, 240)):
        rgba = cv2.resize(cut_out(x, 0.4 * number), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    opaque = np.dstack([scene_picture(80), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    cv2.imwrite(str(tmp_path / "photos" / "opaque.png"), cv2.cvtColor(opaque, cv2.COLOR_RGBA2BGRA))
    cv2.imwrite(str(tmp_path / "photos" / "plain.jpg"), scene_picture(80)[..., ::-1])
    summary = pack([tmp_path / "photos"], tmp_path / "out", options(subjects="alpha", stills=True))
    frames = real_frames(tmp_path / "out")
    assert [frame.source for frame in frames] == ["0.png", "1.png", "2.png"]
    assert summary.rejects == {"without a transparent ground": 2}
    for frame, x in zip(frames, (80, 160, 240), strict=True):
        assert frame.crop[0] + frame.crop[2] / 2 == pytest.approx(4 * x, abs=12)  # in pixels of the file
        assert frame.crop[2] == pytest.approx(4 * 125, abs=40)
        assert np.abs(frame.image[:8, :8].astype(int) - 128).max() < 6


def test_alpha_cuts_subjects_out_of_a_video(write_video, tmp_path):
    path = write_video(tmp_path / "a.mov", [cut_out(80 + 3 * i, 0.5 * i) for i in range(12)], codec="png", rate=25)
    pack([path], tmp_path / "out", options(subjects="alpha", clip_frames=12))
    frames = real_frames(tmp_path / "out")
    assert [frame.frame for frame in frames] == list(range(12))
    assert len({frame.crop for frame in frames}) == 1
    assert not frames[0].extra
