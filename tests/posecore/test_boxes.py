"""Boxes from the picture itself, and ids that stay with a subject through its clip."""

import numpy as np
import pytest

from posecore.boxes import IdKeeper, from_alpha, inside_picture, whole_picture
from posecore.errors import UserError
from posecore.pictures import Picture, Subject

BLANK = np.zeros((100, 200, 3), np.uint8)


def frame(number: int, clip: str = "a.mp4") -> Picture:
    return Picture(f"{clip}#{number:06d}", BLANK, clip=clip, frame=number)


def ids_over(keeper: IdKeeper, boxes_by_frame: dict[int, list], clip: str = "a.mp4") -> list[list[int]]:
    return [
        [subject.id for subject in keeper(frame(number, clip), [Subject(box) for box in boxes])]
        for number, boxes in boxes_by_frame.items()
    ]


def test_the_whole_picture_or_what_a_dataset_labels():
    assert whole_picture(frame(0)) == [Subject(None, 1)]
    known = (Subject((1, 2, 3, 4), 2),)
    assert whole_picture(Picture("a", BLANK, labelled=known)) == list(known)


def test_alpha_gives_a_tight_box_or_nobody():
    alpha = np.zeros((100, 200), np.uint8)
    assert from_alpha(Picture("a", BLANK, alpha)) == []
    alpha[10:30, 50:90] = 200
    alpha[80:, :] = 100  # less than half opaque
    (subject,) = from_alpha(Picture("a", BLANK, alpha))
    assert subject.box == (50, 10, 40, 20)
    with pytest.raises(UserError, match=r"a\.png: has no alpha channel"):
        from_alpha(Picture("a.png", BLANK))


def test_only_boxes_wholly_beside_the_picture_are_left_out():
    boxes = [(-50, 10, 60, 60), (190, 90, 30, 30), (-50, 10, 50, 60), (300, 300, 9, 9), (10, -80, 20, 80), None]
    inside = inside_picture(frame(0), [Subject(box) for box in boxes])
    assert [subject.box for subject in inside] == [boxes[0], boxes[1], None]


def test_ids_follow_boxes_whatever_their_order():
    left, right = (10, 10, 40, 80), (120, 10, 40, 80)
    moved = [(x + 5, y, w, h) for x, y, w, h in (left, right)]
    assert ids_over(IdKeeper(), {0: [left, right], 1: moved[::-1], 2: [right]}) == [[1, 2], [2, 1], [2]]


def test_a_subject_keeps_its_id_over_a_short_gap_and_a_new_one_gets_a_new_id():
    box, other = (10, 10, 40, 80), (120, 10, 40, 80)
    assert ids_over(IdKeeper(), {0: [box], 5: [], 12: [other, box], 40: [box]}) == [[1], [], [2, 1], [3]]


def test_ids_of_a_file_are_kept_and_clips_begin_anew():
    keeper = IdKeeper()
    given = [Subject((10, 10, 40, 80), 7), Subject((120, 10, 40, 80))]
    assert [subject.id for subject in keeper(frame(0), given)] == [7, 8]
    assert ids_over(keeper, {1: [(12, 10, 40, 80)]}) == [[7]]
    assert ids_over(keeper, {0: [(12, 10, 40, 80)]}, clip="b.mp4") == [[1]]
    with pytest.raises(UserError, match=r"a\.mp4#000002: two boxes bear the same id"):
        keeper(frame(2), [Subject((0, 0, 9, 9), 3), Subject((50, 0, 9, 9), 3)])
