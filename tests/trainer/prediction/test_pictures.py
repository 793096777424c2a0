"""Pictures as they are meant to be seen, whatever their file says, with names, frames and times to rely on."""

import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from posecore.codec import encode
from posecore.errors import UserError
from posecore.pictures import read_image
from posecore.skeleton import load_skeleton
from trainer.prediction.pictures import find_sources, frame_rate, num_pictures, read_pictures


def marked(width: int = 60, height: int = 40) -> np.ndarray:
    """Red in the top-left corner, green along the left edge, blue at the bottom right: no turn leaves it alike."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[: height // 4, : width // 3] = (250, 0, 0)
    image[height // 2 :, : width // 6] = (0, 250, 0)
    image[3 * height // 4 :, 5 * width // 6 :] = (0, 0, 250)
    return image


def read_all(inputs, **options):
    return [picture for source in find_sources(inputs, **options) for picture in read_pictures(source)]


def test_videos_are_upright_with_square_pixels_and_their_own_times(tmp_path, write_video):
    times = [0, 100, 150, 400, 500]
    images = [marked()] * 5
    path = write_video(tmp_path / "a.mp4", images, times, aspect=Fraction(2, 1))
    pictures = read_all([path])
    assert [picture.name for picture in pictures] == [f"a.mp4#{i:06d}" for i in range(5)]
    assert [(picture.clip, picture.frame) for picture in pictures] == [("a.mp4", i) for i in range(5)]
    np.testing.assert_allclose([picture.time_s for picture in pictures], np.array(times) / 1000, atol=2e-3)
    assert pictures[0].image.shape == (40, 120, 3)
    stretched = cv2.resize(marked(), (120, 40), interpolation=cv2.INTER_AREA)
    assert np.abs(pictures[0].image.astype(int) - stretched).mean() < 12

    # As a phone held upright writes it: stored lying, to be turned clockwise (the track header's matrix says so).
    turned = bytearray(write_video(tmp_path / "b.mp4", images).read_bytes())
    place = turned.index(b"tkhd") + 44
    turned[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    (tmp_path / "b.mp4").write_bytes(turned)
    (first, *_) = read_all([tmp_path / "b.mp4"])
    assert np.abs(first.image.astype(int) - np.rot90(marked(), -1)).mean() < 12


def test_a_video_s_alpha_is_kept(tmp_path, write_video):
    opacity = np.zeros((40, 60, 1), np.uint8)
    opacity[5:20, 30:50] = 255
    path = write_video(tmp_path / "a.mov", [np.dstack([marked(), opacity])] * 2, codec="png")
    for picture in read_all([path]):
        assert np.array_equal(picture.alpha, opacity[..., 0])
        assert (picture.image[30] == 128).all()


def test_stills_stand_alone_unless_they_have_a_rate(tmp_path):
    for name in ("b.png", "a.jpg", ".hidden.png"):
        cv2.imwrite(str(tmp_path / name), marked())
    (tmp_path / "notes.txt").write_text("x")
    alone = read_all([tmp_path])
    assert [(picture.name, picture.clip, picture.frame) for picture in alone] == [
        ("a.jpg", "a.jpg", 0),
        ("b.png", "b.png", 0),
    ]
    clip = read_all([tmp_path], stills_rate=8)
    assert [(picture.name, picture.clip, picture.frame, picture.time_s) for picture in clip] == [
        ("a.jpg", tmp_path.name, 0, 0.0),
        ("b.png", tmp_path.name, 1, 0.125),
    ]
    given = read_all([tmp_path / "b.png", tmp_path / "a.jpg"], stills_rate=8)
    assert [(picture.name, picture.frame) for picture in given] == [("b.png", 0), ("a.jpg", 1)]
    assert frame_rate(find_sources([tmp_path])) is None
    assert frame_rate(find_sources([tmp_path], stills_rate=8)) == 8


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), marked())
    assert [picture.name for picture in read_all([tmp_path], stills_rate=8)] == [
        "frame1.png",
        "frame2.png",
        "frame10.png",
    ]


def test_files_of_one_name_go_by_their_path(tmp_path, monkeypatch):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), marked())
    cv2.imwrite(str(tmp_path / "2.png"), marked())
    monkeypatch.chdir(tmp_path)
    assert [picture.name for picture in read_all(["x", "y", "2.png"])] == ["x/1.png", "y/1.png", "2.png"]


def test_a_packed_dataset_is_read_picture_by_picture(painted_clips, painted_dataset, paint, write_shards, tmp_path):
    real = read_all([painted_clips(clips=2, frames=3)])
    assert [picture.name for picture in real] == [f"{c:06d}-{f:05d}" for c in range(2) for f in range(3)]
    assert [(picture.clip, picture.frame) for picture in real][-1] == ("clip-1", 2)
    assert real[0].labelled is None
    labelled = read_all([painted_dataset(scenes=1, frames=1, shards=1)])
    sample = paint(0, 0, load_skeleton("human"))
    assert labelled[0].labelled[0].box == tuple(sample.subjects[0].box_px)
    assert labelled[0].labelled[0].id == 1
    location = write_shards(tmp_path / "one", "synthetic", [[(sample.key, encode(sample))]])
    assert num_pictures(find_sources([f"file://{location}"])) == 1
    assert read_all([f"file://{location}"])[0].name == sample.key


def test_pictures_of_several_datasets_are_told_apart(painted_clips):
    one, other = painted_clips(clips=1, frames=1, shards=1), painted_clips(clips=1, frames=1, shards=1)
    found = read_all([one, other])
    assert [picture.name for picture in found] == [f"{one}/000000-00000", f"{other}/000000-00000"]
    assert found[0].clip != found[1].clip


def test_counts_and_rates_come_from_headers(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", [marked()] * 7, rate=10)
    cv2.imwrite(str(tmp_path / "b.png"), marked())
    sources = find_sources([path, tmp_path / "b.png"])
    assert num_pictures(sources) == 8
    assert frame_rate(sources) == pytest.approx(10, rel=0.2)


def test_large_pictures_can_be_shrunk_while_they_are_read(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", [marked(240, 120)] * 2)
    cv2.imwrite(str(tmp_path / "b.png"), marked(240, 120))
    for source in find_sources([path, tmp_path / "b.png"]):
        assert all(picture.image.shape == (30, 60, 3) for picture in read_pictures(source, longest_px=60))


def test_what_cannot_be_read_is_one_line_with_its_path(tmp_path, write_video, monkeypatch):
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        find_sources([tmp_path / "none.png"])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"notes\.txt: unknown type '\.txt'"):
        find_sources([tmp_path / "notes.txt"])
    with pytest.raises(UserError, match=r"no picture, video or dataset\.json in this folder"):
        find_sources([tmp_path])
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"bad\.mp4: does not decode as video"):
        read_all([tmp_path / "bad.mp4"])
    for content in (b"", b"no picture"):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.png: does not decode as a picture"):
            read_all([tmp_path / "bad.png"])
    pages = [Image.fromarray(marked()), Image.fromarray(marked())]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match=r"pages\.tif: holds 2 pages"):
        read_image(tmp_path / "pages.tif")
    cv2.imwrite(str(tmp_path / "float.tif"), marked().astype(np.float32))
    with pytest.raises(UserError, match=r"float\.tif: pictures are uint8 or uint16, got float32"):
        read_image(tmp_path / "float.tif")
    cv2.imwrite(str(tmp_path / "vast.png"), marked())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"vast\.png: image size \(2400 pixels\) exceeds limit"):
        read_image(tmp_path / "vast.png")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(30)]
    whole = write_video(tmp_path / "cut.mp4", noise).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.mp4: does not decode"):
        read_all([tmp_path / "cut.mp4"])
