import json
from dataclasses import fields, replace

import numpy as np
import pytest

from posecore.codec import decode, decode_real, encode, encode_real
from posecore.errors import UserError
from posecore.sample import RealFrame, Sample, validate
from tests.posecore.samples import make_sample


def assert_same(first: object, second: object) -> None:
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype.kind == b.dtype.kind
            np.testing.assert_array_equal(a, b)
        elif field.name == "camera":
            assert_same(a, b)
        elif field.name == "subjects":
            for one, other in zip(a, b, strict=True):
                assert_same(one, other)
        else:
            assert a == b


def full_sample() -> Sample:
    rng = np.random.default_rng(5)
    depth = rng.uniform(0, 9, (64, 64)).astype(np.float16)
    depth[0] = np.inf
    normal, parts = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), rng.integers(0, 5, (64, 64), dtype=np.uint8)
    return replace(make_sample(), depth_m=depth, normal=normal, parts=parts)


def test_what_is_encoded_decodes_to_the_same_values() -> None:
    assert_same(decode(encode(full_sample(), image_format="png")), full_sample())


def test_the_same_sample_gives_the_same_bytes() -> None:
    assert encode(full_sample()) == encode(full_sample())


def test_jpeg_changes_pixels_and_no_label() -> None:
    sample = make_sample()
    decoded = decode(encode(sample, quality=95))
    assert_same(replace(decoded, image=sample.image), sample)
    assert validate(decoded) == []


def test_layers_that_are_not_asked_for_are_not_decoded() -> None:
    decoded = decode(encode(full_sample()), layers=("image",))
    assert decoded.depth_m is None and decoded.mask.size == 0 and decoded.image.shape == (64, 64, 3)


def test_meta_json_has_exactly_the_names_of_the_design() -> None:
    meta = json.loads(encode(make_sample())["meta.json"])
    assert list(meta) == ["format_version", "key", "scene", "frame", "view", "camera", "subjects", "provenance"]
    assert list(meta["camera"]) == ["width", "height", "K", "cam_from_world"]
    assert set(meta["subjects"][0]) == {
        "id", "kind", "species", "skeleton", "joints_px", "joints_cam_m", "joints_world_m", "rotations", "visibility",
        "box_px", "occlusion", "truncation", "shape",
    }  # fmt: skip


def test_real_frames_survive_the_round_trip() -> None:
    image = np.full((16, 16, 3), 90, np.uint8)
    frame = RealFrame("00000000-00-00", image, "walk", 12, 0.4, (1.0, 2.0, 30.0, 30.0), "a.mp4", {"track": 1})
    assert_same(decode_real(encode_real(frame, quality=100)), frame)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: m.pop("meta.json"), "no meta.json"),
        (lambda m: m.pop("mask.png"), "mask.png missing"),
        (lambda m: m.pop("image.jpg"), "no image"),
        (lambda m: m.update({"image.jpg": m["image.jpg"][:40]}), "does not decode"),
        (lambda m: m.update({"meta.json": b"{"}), "cannot be read"),
        (
            lambda m: m.update({"meta.json": m["meta.json"].replace(b'"format_version":1', b'"format_version":9')}),
            "version 9",
        ),
    ],
)
def test_damaged_records_are_one_clear_line(damage, message: str) -> None:
    members = encode(make_sample())
    damage(members)
    with pytest.raises(UserError, match=message) as caught:
        decode(members)
    assert "\n" not in str(caught.value)
