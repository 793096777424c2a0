"""Box files in every form that is promised, and one line for what is none of them."""

import json

import numpy as np
import pytest

from posecore.box_files import read_box_file
from posecore.errors import UserError
from posecore.pictures import Picture

BLANK = np.zeros((9, 9, 3), np.uint8)
A, B = (1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 80.0)


def still(name: str) -> Picture:
    return Picture(name, BLANK, clip=name)


def frame(number: int, clip: str = "a.mp4") -> Picture:
    return Picture(f"{clip}#{number:06d}", BLANK, clip=clip, frame=number)


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="boxes.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to_file


def boxes(file, picture):
    return [subject.box for subject in file(picture)]


def test_a_mapping_names_one_box_or_several_a_picture_and_the_last_part_of_a_path_will_do(write):
    file = read_box_file(write({"a.png": A, "some/where/b.png": [A, B], "c.png": []}))
    assert boxes(file, still("a.png")) == [A]
    assert boxes(file, still("b.png")) == boxes(file, still("some/where/b.png")) == [A, B]
    assert boxes(file, still("c.png")) == boxes(file, still("other.png")) == []


def test_paths_that_end_alike_are_told_apart(write):
    file = read_box_file(write({"x/1.png": A, "y/1.png": B}))
    assert (boxes(file, still("x/1.png")), boxes(file, still("y/1.png"))) == ([A], [B])
    assert boxes(file, still("1.png")) == []


def test_a_video_has_one_box_throughout_or_keyframes_between_which_it_moves(write):
    file = read_box_file(write({"a.mp4": A, "b.mp4": {"0": [0, 0, 10, 10], "4": [40, 0, 10, 20]}}))
    assert boxes(file, frame(17)) == [A]
    assert boxes(file, frame(1, "b.mp4")) == [(10, 0, 10, 12.5)]
    assert boxes(file, frame(99, "b.mp4")) == [(40, 0, 10, 20)]
    assert file(frame(1, "b.mp4"))[0].id == 1


def test_coco_detections_go_by_the_number_in_the_name_or_by_the_frame(write):
    file = read_box_file(write([{"image_id": 139, "category_id": 1, "bbox": A, "score": 0.9}]))
    assert boxes(file, still("000000000139.jpg")) == [A]
    assert boxes(file, still("000000000140.jpg")) == boxes(file, still("photo.jpg")) == []
    assert boxes(file, frame(139)) == [A]
    by_name = read_box_file(write([{"image_id": "photo.jpg", "category_id": 1, "bbox": A, "score": 0.9}]))
    assert boxes(by_name, still("photo.jpg")) == [A]


def test_a_coco_file_names_its_images_and_its_annotation_ids_are_nobody_s(write):
    content = {
        "images": [{"id": 1, "file_name": "val/photo.jpg"}, {"id": 2, "file_name": "val/empty.jpg"}],
        "annotations": [
            {"id": 900, "image_id": 1, "category_id": 1, "bbox": A, "iscrowd": 0},
            {"id": 901, "image_id": 1, "category_id": 1, "bbox": [0, 0, 500, 500], "iscrowd": 1},
        ],
    }
    file = read_box_file(write(content))
    (subject,) = file(still("photo.jpg"))
    assert (subject.box, subject.id, subject.score) == (A, None, 1.0)
    assert file(still("empty.jpg")) == []


def test_weak_detections_and_other_categories_are_left_out(write):
    found = [
        {"image_id": 1, "category_id": category, "bbox": box, "score": score}
        for category, box, score in ((1, A, 0.9), (1, B, 0.2), (18, B, 0.8))
    ]
    path = write(found)
    with pytest.raises(UserError, match=r"categories \[1, 18\]; choose one with --box-category"):
        read_box_file(path)
    with pytest.raises(UserError, match="no box of category 5"):
        read_box_file(path, category=5)
    assert boxes(read_box_file(path, category=1), still("1.jpg")) == [A]
    assert boxes(read_box_file(path, min_score=0.1, category=1), still("1.jpg")) == [A, B]
    (dog,) = read_box_file(path, category=18)(still("1.jpg"))
    assert (dog.category, dog.score) == (18, 0.8)


def test_tables_by_picture_by_frame_and_without_names(write):
    by_picture = write("image, x, y, width, height\na.png,1,2,30,40\na.png,5,6,70,80\n", "a.csv")
    assert boxes(read_box_file(by_picture), still("a.png")) == [A, B]
    by_frame = write("video,frame,id,x,y,w,h,score\na.mp4,3,2.0,1,2,30,40,0.9\na.mp4,3,1,5,6,70,80,0.1\n", "b.csv")
    (subject,) = read_box_file(by_frame)(frame(3))
    assert (subject.box, subject.id, subject.score) == (A, 2, 0.9)
    assert read_box_file(by_frame)(frame(4)) == []
    # Lightning Pose's: an unnamed column of frame numbers, x, y, h, w.
    unnamed = read_box_file(write(",x,y,h,w\n0,1,2,40,30\n1,5,6,80,70\n", "c.csv"))
    assert [boxes(unnamed, frame(i)) for i in range(3)] == [[A], [B], []]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ({"a.png": [1, 2, 3]}, "a box is"),
        ({"a.png": [1, 2, 0, 4]}, "size above 0"),
        ({"a.png": [1, 2, None, 4]}, "float"),
        ({"a.mp4": {}}, "has no frame"),
        ([{"image": "a.png"}], "no 'box'"),
        ([3], "int"),
    ],
)
def test_boxes_that_make_no_sense_are_one_line(write, content, reason):
    with pytest.raises(UserError, match=rf"boxes\.json: cannot be read as boxes \(.*{reason}.*\); write"):
        read_box_file(write(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [("image,x,y\na.png,1,2\n", "lacks width, height"), ("x,y,w,h\n", "no line"), ("x,y,w,h\n1,2,a,4\n", "float")],
)
def test_tables_that_make_no_sense_are_one_line(write, content, reason):
    with pytest.raises(UserError, match=rf"boxes\.csv: cannot be read as boxes \(.*{reason}"):
        read_box_file(write(content, "boxes.csv"))


def test_stills_of_one_clip_go_by_the_number_in_their_name_not_by_their_place(write):
    file = read_box_file(write([{"image_id": 7, "category_id": 1, "bbox": A}]))
    first, second = (
        Picture(f"{number:06d}.jpg", BLANK, clip="shot", frame=place) for place, number in ((7, 1), (0, 7))
    )
    assert (boxes(file, first), boxes(file, second)) == ([], [A])
    assert boxes(file, Picture("left_a.jpg", BLANK, clip="shot", frame=7)) == [A]


def test_before_the_first_and_after_the_last_keyframe_a_box_is_only_held(write):
    file = read_box_file(write({"a.mp4": {"3": A, "9": B}, "b.mp4": {"3": A}}))
    assert [file.within_keyframes(frame(number)) for number in (2, 3, 9, 10)] == [False, True, True, False]
    assert file.within_keyframes(frame(99, "b.mp4"))
