"""What inputs stand for, in which order and by what name; and which frames of them are read."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from synthgen.footage.options import PackOptions
from synthgen.footage.sources import find_footage, read_frames
from tests.rooms import HEIGHT, WIDTH, walking

PLAIN = np.full((40, 60, 3), 90, np.uint8)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), PLAIN)
    return path


def video(path: Path) -> Path:
    """A file that is called a video; nothing here decodes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def told(inputs: list) -> list[tuple[str, tuple[str, ...]]]:
    return [(item.name, item.picture_names) for item in find_footage(inputs)]


def sound(item, options=PackOptions()):
    """All frames of footage that must be sound."""

    def fail(name, frames_read, error):
        raise error

    return list(read_frames(item, options, fail))


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10, 100, 21):
        picture(tmp_path / "shot" / f"frame{number}.png")
    expected = [("shot", tuple(f"frame{number}.png" for number in (1, 2, 10, 21, 100)))]
    assert told([tmp_path / "shot"]) == told([tmp_path / "shot" / "frame*.png"]) == expected
    # As a shell expands a pattern: one by one, in the order of their letters.
    assert told(sorted((tmp_path / "shot").iterdir())) == expected


def test_patterns_reach_folders_in_depth_and_pass_by_what_is_no_footage(tmp_path):
    for name in ("a/1.mp4", "a/b/2.mov", "a/b/c/3.png", "a/.hidden/4.mp4", "a/b/._5.mp4"):
        video(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("x")
    names = [("1.mp4", ()), ("2.mov", ()), ("c", ("3.png",))]
    assert told([tmp_path / "a" / "**"]) == told([tmp_path / "a"]) == names
    assert told([tmp_path / "a" / "**" / "*.m[op]?"]) == names[:2]
    with pytest.raises(UserError, match=r"\*\.avi: fits no video or picture"):
        find_footage([tmp_path / "**" / "*.avi"])


def test_a_name_with_brackets_that_exists_is_no_pattern(tmp_path):
    video(tmp_path / "clip[1].mp4")
    assert told([tmp_path / "clip[1].mp4"]) == [("clip[1].mp4", ())]


def test_a_file_given_twice_is_read_once(tmp_path, monkeypatch):
    video(tmp_path / "a.mp4")
    picture(tmp_path / "1.png")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "self").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = ["a.mp4", tmp_path / "a.mp4", "*.mp4", "link.mp4", ".", "1.png", "../" + tmp_path.name]
    assert told(given) == [("a.mp4", ()), (tmp_path.name, ("1.png",))]


def test_names_that_several_bear_tell_their_folders(tmp_path):
    for name in ("x/1.mp4", "y/1.mp4", "y/2.mp4", "x/p/1.png", "y/p/1.png", "y/p/3.png"):
        video(tmp_path / name)
    assert told([tmp_path]) == [
        ("x/1.mp4", ()),
        ("x/p", ("x/p/1.png",)),
        ("y/1.mp4", ()),
        ("2.mp4", ()),
        ("y/p", ("y/p/1.png", "3.png")),
    ]


def test_packed_datasets_are_no_footage(tmp_path):
    video(tmp_path / "a.mp4")
    picture(tmp_path / "real" / "preview.png")
    (tmp_path / "real" / "dataset.json").write_text("{}")
    assert told([tmp_path]) == told([tmp_path / "*"]) == [("a.mp4", ())]
    with pytest.raises(UserError, match="is a dataset already"):
        find_footage([tmp_path / "real"])


def test_missing_and_unknown_inputs_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        find_footage([tmp_path / "nothing.mp4"])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"unknown type '\.txt'"):
        find_footage([tmp_path / "notes.txt"])
    with pytest.raises(UserError, match="no video or picture"):
        find_footage([tmp_path])


def test_a_rotation_flag_turns_frames_upright(walk, tmp_path):
    """The display matrix of the track header is set to a quarter turn clockwise, as a phone held upright writes
    it."""
    content = bytearray(walk.read_bytes())
    header = content.index(b"tkhd") + 4
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    content[header + 40 : header + 76] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    (tmp_path / "phone.mp4").write_bytes(content)
    upright, stored = (sound(find_footage([path])[0])[0] for path in (tmp_path / "phone.mp4", walk))
    assert upright.image.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(upright.image.astype(int) - np.rot90(stored.image, k=-1)).mean() < 1


def test_frames_are_shrunk_to_the_working_size_and_say_by_how_much(walk):
    frames = sound(find_footage([walk])[0], PackOptions(working_size_px=160, frame_step=4))
    assert [frame.frame for frame in frames] == list(range(0, 40, 4))
    assert frames[0].image.shape == (120, 160, 3)
    assert frames[0].scale == 2


def test_frames_of_a_varying_rate_keep_their_times_and_are_thinned_out_by_them(write_video, tmp_path):
    """A second at 20 frames a second, one at 5, one at 40."""
    times_ms = [*range(0, 1000, 50), *range(1000, 2000, 200), *range(2000, 3000, 25)]
    path = write_video(tmp_path / "vary.mp4", walking(len(times_ms), step=1), times_ms)
    (item,) = find_footage([path])
    frames = sound(item)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.array(times_ms) / 1000, atol=1e-3)
    chosen = sound(item, PackOptions(frames_per_second=10))
    expected = [*range(0, 1000, 100), *range(1000, 2000, 200), *range(2000, 3000, 100)]
    np.testing.assert_allclose([frame.time_s for frame in chosen], np.array(expected) / 1000, atol=1e-3)
    assert [frame.frame for frame in chosen][:3] == [0, 2, 4]


def test_a_range_of_frames_is_taken_of_a_video_and_of_a_folder(walk, tmp_path):
    (video,) = find_footage([walk])
    chosen = sound(video, PackOptions(frames=(5, 15), frame_step=4))
    assert [frame.frame for frame in chosen] == [5, 9, 13]
    assert [frame.frame for frame in sound(video, PackOptions(frames=(37, None)))] == [37, 38, 39]
    for number in range(4):
        picture(tmp_path / f"{number}.png")
    (folder,) = find_footage([tmp_path])
    assert [frame.name for frame in sound(folder, PackOptions(frames=(1, 3)))] == ["1.png", "2.png"]


def test_a_picture_that_does_not_decode_is_told_and_passed_by(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"this is no picture")
    damage = []
    (item,) = find_footage([tmp_path])
    frames = list(read_frames(item, PackOptions(), lambda *one: damage.append(one)))
    assert [(frame.name, frame.frame) for frame in frames] == [("0.png", 0), ("2.png", 2)]
    ((name, frames_read, error),) = damage
    assert (name, frames_read, error.reason) == ("1.png", 0, "does not decode as a picture")


def test_options_that_make_no_sense_are_one_line():
    sensible = PackOptions()
    for changes, message in (
        ({"subjects": "boxes"}, "needs a file of boxes"),
        ({"boxes": Path("b.json")}, "boxes are not used with subjects"),
        ({"clip_frames": 4}, "2 to 99 frames"),
        ({"frame_step": 2, "frames_per_second": 5.0}, "both thin out"),
        ({"frames": (5, 5)}, "0 <= FIRST < END, got 5:5"),
        ({"frames_per_second": 0.0}, "above 0, got 0.0"),
        ({"margin": 0.5}, "within 1 and 4, got 0.5"),
        ({"quality": 0}, "within 1 and 100, got 0"),
        ({"size_px": 0}, "size_px must be at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            replace(sensible, **changes)
