from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.codec import decode, encode
from posecore.errors import UserError
from synthgen.datasets.lookup import find_record
from synthgen.datasets.rerender import Rerendered, differences, picture_name, rerender, write_members


@pytest.mark.parametrize("key", ["00000000-00-00", "00000003-01-00"])
def test_a_sample_made_again_has_the_same_bytes(people: Path, key: str) -> None:
    result = rerender(str(people), key)
    assert differences(result) == [] and result.members == result.stored


def test_views_of_animals_are_made_again_too(animals: Path) -> None:
    assert differences(rerender(str(animals), "00000001-00-01")) == []


@pytest.mark.blender
def test_blender_gives_the_same_bytes_again(tmp_path: Path) -> None:
    from synthgen.generate import render_dataset
    from synthgen.recipe import load_recipe

    recipe = load_recipe("humans_dr", ("count=2", "image.width=48", "image.height=48", "limits.visible_px=20"))
    render_dataset(recipe, tmp_path / "data", num_workers=1, resume=False)
    assert differences(rerender(str(tmp_path / "data"), "00000000-01-00")) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: replace(s, image=s.image ^ 1), "image.png: differs by 1 of 255 on average, at most 1"),
        (lambda s: replace(s, mask=np.where(s.mask > 0, 2, 0).astype(np.uint8)), "pixels differ"),
        (lambda s: replace(s, depth_m=s.depth_m + np.float16(0.5)), "depth.npz: differs by 0."),
        (lambda s: replace(s, depth_m=None), "depth.npz: stored, but not rendered now"),
        (
            lambda s: replace(s, subjects=(replace(s.subjects[0], joints_px=s.subjects[0].joints_px + 0.25),)),
            "meta.json: subjects[0].joints_px: differs by up to 0.25",
        ),
        (
            lambda s: replace(s, provenance=s.provenance | {"versions": {**s.provenance["versions"], "numpy": "3.0"}}),
            'meta.json: provenance.versions.numpy: stored "1.',
        ),
    ],
)
def test_each_difference_is_named_with_its_size(people: Path, change, line: str) -> None:
    _, record = find_record(str(people), "00000000-00-00")
    changed = encode(change(decode(record.members)), "png")
    lines = differences(Rerendered(record.key, record.members, changed, is_variant=False))
    assert any(line in found for found in lines), lines


def test_a_variant_shows_the_same_scene_in_another_size(people: Path, tmp_path: Path) -> None:
    changes = ("image.width=160", "image.height=160", "image.layers=[]", "image.format=jpg")
    result = rerender(str(people), "00000001-00-00", changes)
    assert result.is_variant and picture_name(result) == "00000001-00-00.image.jpg"
    small, large = decode(result.stored), decode(result.members)
    assert large.image.shape == (160, 160, 3) and large.depth_m is None
    assert np.allclose(large.subjects[0].joints_px, small.subjects[0].joints_px * 2.5)
    paths = write_members(result, tmp_path / "out")
    assert {path.name for path in paths} == {f"00000001-00-00.{name}" for name in result.members}
    assert cv2.imread(str(tmp_path / "out" / picture_name(result))).shape == (160, 160, 3)


def test_what_cannot_be_made_again_is_one_line(people: Path, footage: Path) -> None:
    with pytest.raises(UserError, match=r"only engine\.\* and image\.\* can change"):
        rerender(str(people), "00000000-00-00", ("camera.fov_deg=90",))
    with pytest.raises(UserError, match="did you mean samples"):
        rerender(str(people), "00000000-00-00", ("engine.sampels=4",))
    with pytest.raises(UserError, match="real footage"):
        rerender(str(footage), "00000000-00-00")
    with pytest.raises(UserError, match="nearest"):
        rerender(str(people), "00000009-00-00")


def test_a_scene_of_another_version_is_one_line_with_that_version(people: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from posecore.dataset import ShardWriter, read_manifest, read_records, write_manifest

    data = Path(shutil.copytree(people, tmp_path / "data"))
    manifest = read_manifest(data)
    first = data / manifest.shards[0].file
    with open(first, "rb") as file:
        records = list(read_records(file, first.name))
    with ShardWriter(first) as writer:
        for key, members in records:
            meta = json.loads(members["meta.json"])
            del meta["provenance"]["spec"]["sensor"]
            writer.add(key, members | {"meta.json": json.dumps(meta).encode()})
    versions = manifest.versions | {"posesynth": "9.9.9"}
    write_manifest(data, replace(manifest, shards=(writer.shard, *manifest.shards[1:]), versions=versions))
    with pytest.raises(UserError, match=r"scene of 00000000-00-00 cannot be read .*sensor.*rendered it: 9\.9\.9"):
        rerender(str(data), "00000000-00-00")
