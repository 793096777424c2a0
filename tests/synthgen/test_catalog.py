"""Fetching from a package index that the test makes itself: a folder with one wheel."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from posecore.errors import UserError
from synthgen import catalog
from synthgen.catalog import Asset, Catalog, Package
from synthgen.recipe import load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import scene_to_dict

WHEEL = "tinyasset-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the only index there is; the cache starts empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("tinyasset/data/clip.txt", "walk")
        wheel.writestr("tinyasset/code.py", "raise SystemExit")
        wheel.writestr("tinyasset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinyasset\nVersion: 1.0\n")
        wheel.writestr("tinyasset-1.0.dist-info/LICENSE", "CC0")
        wheel.writestr(
            "tinyasset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinyasset-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("SYNTHGEN_CACHE", str(tmp_path / "cache"))
    return folder


def use_catalog(monkeypatch: pytest.MonkeyPatch, sha256: str) -> None:
    package = Package(requirement="tinyasset==1.0", sha256=sha256, members=("tinyasset/data/",))
    asset = Asset(id="motion/tiny", kind="motion", package="t", path="tinyasset/data", licence="CC0-1.0", what="a clip")
    monkeypatch.setattr(catalog, "catalog", lambda: Catalog(packages={"t": package}, assets=(asset,)))


def test_fetching_unpacks_only_what_is_listed_and_the_licence(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_catalog(monkeypatch, hashlib.sha256((index / WHEEL).read_bytes()).hexdigest())
    assert not catalog.is_present("motion/tiny")
    path = catalog.fetch("motion/tiny")
    assert (path / "clip.txt").read_text() == "walk"
    unpacked = {p.name for p in catalog.cache_dir().rglob("*") if p.is_file()}
    assert unpacked == {"clip.txt", "LICENSE"}


def test_a_second_fetch_needs_no_network(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_catalog(monkeypatch, hashlib.sha256((index / WHEEL).read_bytes()).hexdigest())
    catalog.fetch("motion/tiny")
    (index / WHEEL).unlink()
    assert (catalog.fetch("motion/tiny") / "clip.txt").is_file()


def test_a_wrong_hash_unpacks_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_catalog(monkeypatch, "0" * 64)
    with pytest.raises(UserError, match=r"sha256 is .* the manifest says 000"):
        catalog.fetch("motion/tiny")
    assert not [p for p in catalog.cache_dir().rglob("*") if p.is_file()]


def test_no_network_is_one_clear_line(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_catalog(monkeypatch, "0" * 64)
    (index / WHEEL).unlink()
    with pytest.raises(UserError, match=r"tinyasset==1\.0 could not be downloaded: .*check the network") as caught:
        catalog.fetch("motion/tiny")
    assert "\n" not in str(caught.value)


def test_an_asset_that_was_not_fetched_says_how_to(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_catalog(monkeypatch, "0" * 64)
    with pytest.raises(UserError, match="run: synthgen assets fetch motion/tiny"):
        catalog.asset_path("motion/tiny")


def test_every_packaged_asset_has_a_licence_and_a_pinned_source() -> None:
    known = catalog.catalog()
    for asset in known.assets:
        package = known.packages[asset.package]
        assert asset.licence and (package.installed or (package.requirement and len(package.sha256) == 64))


def test_recipes_that_name_what_does_not_exist_are_refused() -> None:
    with pytest.raises(UserError, match="unknown asset 'hdri/moon'; known: hdri/city"):
        catalog.assets_of(load_recipe("humans_dr", ("world.hdri=hdri/moon",)))
    with pytest.raises(UserError, match="no clip 'waltz'; known: backflip"):
        catalog.load_library(load_recipe("humans_dr", ("subject.pose.clips=waltz",)))


def write_motion(path: Path) -> Path:
    np.savez(path, poses=np.zeros((4, 72)), trans=np.zeros((4, 3)), mocap_framerate=30.0)
    return path


def test_a_users_motion_is_a_clip_of_the_library_named_in_its_assets_without_its_folder(tmp_path: Path) -> None:
    write_motion(tmp_path / "b.npz")
    write_motion(tmp_path / "a.npz")
    recipe = load_recipe("tiny_humans", (f"subject.pose.clips={{choice: {{walk: 1, '{tmp_path}/*.npz': 3}}}}",))
    assert recipe.subject.pose.clips.weights == (("walk", 1), (f"{tmp_path}/a.npz", 1.5), (f"{tmp_path}/b.npz", 1.5))
    library = catalog.load_library(recipe)
    assert library.clip_durations_s["a.npz"] == pytest.approx(0.1)
    assert [asset.partition("@")[0] for asset in library.assets][-2:] == ["a.npz", "b.npz"]
    spec = sample_scene(
        load_recipe("tiny_humans", (f"subject.pose.clips={tmp_path}/a.npz",)), 0, library.clip_durations_s
    )
    assert spec.frames[0].poses[0].clip == "a.npz"
    assert str(tmp_path) not in json.dumps(scene_to_dict(spec))


def test_what_is_wrong_with_a_users_motion_is_one_line_with_the_field(tmp_path: Path) -> None:
    (tmp_path / "broken.bvh").write_text("HIERARCHY")
    for name, message in (("gone.bvh", r"no file .*gone\.bvh"), ("broken.bvh", "no MOTION section")):
        with pytest.raises(UserError, match=rf"^subject\.pose\.clips: .*{message}"):
            catalog.load_library(load_recipe("tiny_humans", (f"subject.pose.clips={tmp_path}/{name}",)))
    with pytest.raises(UserError, match=r"subject\.pose\.clips: no \.bvh or \.npz file in '.*\*\.npz'"):
        load_recipe("tiny_humans", (f"subject.pose.clips={tmp_path}/*.npz",))
    (tmp_path / "more").mkdir()
    files = [str(write_motion(tmp_path / place)) for place in ("same.npz", "more/same.npz")]
    with pytest.raises(UserError, match=r"subject\.pose\.clips: .* would both be clip 'same\.npz'"):
        load_recipe("tiny_humans", (f"subject.pose.clips={files}",))
