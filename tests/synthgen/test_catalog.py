"""Fetching from a package index that the test makes itself: a folder with one wheel."""

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import cv2
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
        pinned = package.requirement and len(package.sha256) == 64
        assert asset.licence and (package.installed or package.made or pinned)


def test_a_painted_sky_is_made_on_first_use_and_is_a_readable_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHGEN_CACHE", str(tmp_path))
    assert not catalog.is_present("sky/clear")
    sky = cv2.imread(str(catalog.fetch("sky/clear")), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    assert sky.shape == (256, 512, 3)
    assert sky.max() > 50 and sky[:100, :, 0].mean() > sky[:100, :, 2].mean()  # a sun, in a blue sky
    assert [f.name for f in (tmp_path / "made").iterdir()] == ["clear.hdr"]


def fake_npm(folder: Path, content: bytes) -> str:
    """An npm that packs one tarball, on a PATH of its own; gives the tarball's sha256."""
    tarball = folder / "pmndrs-assets-1.0.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name, data in {
            "package/hdri/room.exr.js": b"export default 'data:application/exr;base64,"
            + base64.b64encode(content)
            + b"'",
            "package/hdri/room.exr.d.ts": b"declare",
            "package/code.js": b"process.exit()",
            "package/LICENSE": b"CC0",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    script = folder / "npm"
    script.write_text(f'#!/bin/sh\nfor last; do :; done\n/bin/cp "{tarball}" "$last/"\n')
    script.chmod(0o755)
    return hashlib.sha256(tarball.read_bytes()).hexdigest()


def use_npm_catalog(monkeypatch: pytest.MonkeyPatch, sha256: str) -> None:
    package = Package(requirement="@some/assets@1.0", registry="npm", sha256=sha256, members=("hdri/",))
    asset = Asset(id="hdri/room", kind="hdri", package="n", path="hdri/room.exr", licence="CC0-1.0", what="a room")
    monkeypatch.setattr(catalog, "catalog", lambda: Catalog(packages={"n": package}, assets=(asset,)))


def test_maps_in_an_npm_package_are_unpacked_out_of_their_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    use_npm_catalog(monkeypatch, fake_npm(tmp_path / "bin", b"light"))
    monkeypatch.setenv("SYNTHGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert catalog.fetch("hdri/room").read_bytes() == b"light"
    assert {p.name for p in catalog.cache_dir().rglob("*") if p.is_file()} == {"room.exr", "LICENSE"}


def test_a_machine_without_npm_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_npm_catalog(monkeypatch, "0" * 64)
    monkeypatch.setenv("SYNTHGEN_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^@some/assets@1\.0 comes from npm, which is not on this machine"):
        catalog.fetch("hdri/room")


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
