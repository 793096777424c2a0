"""What prediction writes can be read as boxes again."""

import numpy as np

from posecore.box_files import read_box_file
from posecore.pictures import Picture
from trainer.prediction.formats import Seen, write_coco, write_json

BLANK = np.zeros((9, 9, 3), np.uint8)


def still(name: str) -> Picture:
    return Picture(name, BLANK, clip=name)


def frame(number: int, clip: str = "a.mp4") -> Picture:
    return Picture(f"{clip}#{number:06d}", BLANK, clip=clip, frame=number)


def boxes(file, picture):
    return [subject.box for subject in file(picture)]


def test_predictions_serve_as_boxes_again_frame_by_frame(tmp_path, posed):
    written = [posed(0, image="a.mp4#000003", frame=3, id=4, box_score=0.5), posed(1, image="b.png")]
    write_json(tmp_path / "p.json", written)
    file = read_box_file(tmp_path / "p.json")
    (subject,) = file(frame(3))
    assert (subject.box, subject.id, subject.score) == ((0, 0, 400, 300), 4, 0.5)
    assert file(frame(4)) == []
    assert boxes(file, still("b.png")) == [(0, 0, 400, 300)]


def test_coco_results_that_were_written_here_serve_as_boxes(tmp_path, posed):
    """Their image ids count the pictures; it is the name that tells the frame."""
    one = posed(0, image="a.mp4#000003", frame=3)
    write_coco(tmp_path / "r.json", [one], [Seen(frame(i).name, "a.mp4", i, i / 25) for i in range(5)])
    file = read_box_file(tmp_path / "r.json")
    assert [boxes(file, frame(i)) for i in (3, 4)] == [[one.box], []]
