"""Pictures as they are meant to be seen, whatever their file says."""

import io

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from posecore.pictures import UnreadableError, read_image, read_video, to_rgb


def marked(width: int = 60, height: int = 40) -> np.ndarray:
    """Red in the top-left corner, green along the left edge, blue at the bottom right: no turn leaves it alike."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[: height // 4, : width // 3] = (250, 0, 0)
    image[height // 2 :, : width // 6] = (0, 250, 0)
    image[3 * height // 4 :, 5 * width // 6 :] = (0, 0, 250)
    return image


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once_in_every_format(tmp_path, form, orientation):
    stored = Image.fromarray(marked())
    exif = stored.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{form}"
    stored.save(path, form, exif=exif, **({"lossless": True} if form == "webp" else {}))
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found, alpha = read_image(path)
    assert alpha is None
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_depth_grey_palette_and_alpha_become_8_bit_rgb(tmp_path):
    image = marked()
    deep = (image.astype(np.uint16) * 257)[..., ::-1]
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert np.array_equal(read_image(tmp_path / "deep.png")[0], image)
    cv2.imwrite(str(tmp_path / "grey.png"), deep[..., 2])
    assert np.array_equal(read_image(tmp_path / "grey.png")[0], np.repeat(image[..., :1], 3, axis=2))
    Image.fromarray(image).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert np.abs(read_image(tmp_path / "palette.png")[0].astype(int) - image).max() < 4

    opacity = np.zeros(image.shape[:2], np.uint8)
    opacity[10:30, 20:50] = 255
    Image.fromarray(np.dstack([image, opacity])).save(tmp_path / "cut.png")
    found, alpha = read_image(tmp_path / "cut.png")
    assert np.array_equal(alpha, opacity)
    assert np.array_equal(found[10:30, 20:50], image[10:30, 20:50])
    assert (found[:10] == 128).all()  # what lies under full transparency is nobody's colour


def test_halves_of_alpha_mix_with_grey():
    image, alpha = to_rgb(np.full((2, 2, 4), (200, 100, 0, 51), np.uint8))
    assert alpha[0, 0] == 51
    assert image[0, 0].tolist() == [142, 122, 102]


def test_only_wanted_frames_of_a_video_are_yielded_and_each_says_its_scale(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", [marked(240, 120)] * 9)
    frames = list(read_video(path, "a", longest_px=60, is_wanted=lambda frame, time_s: frame % 4 == 0))
    assert [(frame.frame, frame.name) for frame in frames] == [(0, "a#000000"), (4, "a#000004"), (8, "a#000008")]
    assert all(frame.image.shape == (30, 60, 3) and frame.scale == 4 for frame in frames)


@pytest.mark.parametrize(
    ("codec", "name", "pixels"), [("libvpx-vp9", "a.webm", "yuva420p"), ("qtrle", "a.mov", "argb")]
)
def test_a_video_s_alpha_is_read_in_the_formats_that_films_are_cut_out_in(codec, name, pixels, tmp_path):
    if codec not in av.codecs_available:
        pytest.skip(f"this build has no {codec}")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, pixels
        for number in range(5):
            image = np.full((120, 160, 4), 90, np.uint8)
            image[..., 3] = 0
            image[20:80, 40 + 10 * number : 100 + 10 * number] = (200, 20, 60, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=pixels)))
        container.mux(stream.encode())
    frames = list(read_video(tmp_path / name, "a"))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(5) / 25, atol=1e-3)
    for number, frame in enumerate(frames):
        opaque = np.zeros((120, 160), bool)
        opaque[20:80, 40 + 10 * number : 100 + 10 * number] = True
        assert ((frame.alpha > 127) != opaque).mean() < 0.01
        assert np.abs(frame.image[~opaque].astype(int) - 128).mean() < 3


def test_a_video_that_breaks_off_gives_the_frames_before_and_then_says_why(tmp_path, write_video):
    rng = np.random.default_rng(0)
    images = [cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (160, 120)) for _ in range(60)]
    content = bytearray(write_video(tmp_path / "a.mp4", images).read_bytes())
    half = len(content) // 2
    content[half : half + len(content) // 5] = rng.integers(0, 255, len(content) // 5, dtype=np.uint8).tobytes()
    (tmp_path / "a.mp4").write_bytes(content)
    frames = []
    with pytest.raises(UnreadableError, match=r"a\.mp4: does not decode as video after \d+ frames") as caught:
        frames.extend(read_video(tmp_path / "a.mp4", "a"))  # extends item by item
    assert 10 < len(frames) < 60
    assert caught.value.reason.startswith(f"does not decode as video after {len(frames)} frames (")
