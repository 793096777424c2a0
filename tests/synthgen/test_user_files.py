import json
from pathlib import Path

import numpy as np
import pytest

from posecore.dataset import read_manifest
from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from synthgen import catalog
from synthgen.datasets.validate import validate_dataset
from synthgen.generate import render_dataset
from synthgen.recipe import load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import SmplSpec, scene_from_dict, scene_to_dict
from synthgen.subjects.smpl.pose import SmplPose
from tests.synthgen.subjects.smpl.made_smpl import made_model, write_npz

CHANGES = (
    "count=2", "frames_per_scene=1", "scenes_per_shard=2", "engine.name=painter", "image.width=64", "image.height=64",
    "image.format=png", "group.count=1", "world.occluders=0", "limits.visible_px=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("models") / "SMPLX_MADE.npz", made_model("smplx"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of these tests' own, with the packages that were fetched before."""
    catalog.fetch("motion/mocap")
    own = tmp_path_factory.getbasetemp() / "cache"
    if not own.exists():
        own.mkdir()
        (own / "packages").symlink_to(catalog.cache_dir() / "packages")
    monkeypatch.setenv("SYNTHGEN_CACHE", str(own))


def test_a_dataset_of_people_on_a_users_body_is_sound_and_tells_the_file_but_not_its_folder(
    model: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "mine.npz", poses=np.zeros((4, 165)), trans=np.zeros((4, 3)), mocap_frame_rate=30.0)
    clips = f"subject.pose.clips={{choice: {{walk: 1, '{tmp_path}/mine.npz': 1}}}}"
    recipe = load_recipe("humans_smplx", (*CHANGES, f"subject.model={model}", clips))
    catalog.load_library(recipe)
    out = tmp_path / "data"
    render_dataset(recipe, out, num_workers=1, resume=False)
    assert list(validate_dataset(out)) == []
    manifest = read_manifest(out)
    licences = {entry["asset"].partition("@")[0]: entry["licence"] for entry in manifest.licences}
    assert "SMPL-X model licence" in licences["SMPLX_MADE.npz"]
    assert licences["mine.npz"] == "as its owner says"
    assert "body/anny" not in licences
    shard = next(out.glob("*.tar")).read_bytes()
    assert b"SMPLX_MADE.npz@sha256:" in shard and b"betas_9" in shard
    assert str(model.parent).encode() not in shard


def test_a_run_is_not_resumed_with_another_version_of_a_users_file(tmp_path: Path) -> None:
    motion = tmp_path / "mine.npz"
    recipe = load_recipe("tiny_humans", ("count=4", "scenes_per_shard=1", f"subject.pose.clips={motion}"))

    def write(turn: float) -> None:
        np.savez(motion, poses=np.full((4, 72), turn), trans=np.zeros((4, 3)), mocap_framerate=30.0)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    write(0.0)
    out = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        render_dataset(recipe, out, 1, resume=False, on_samples=stop)
    write(0.1)
    with pytest.raises(UserError, match="was begun with another version of a file that the recipe names"):
        render_dataset(recipe, out, 1, resume=True)


def test_specs_of_users_bodies_come_back_from_json_as_they_were(model: Path) -> None:
    recipe = load_recipe("humans_smplx", (*CHANGES, f"subject.model={model}"))
    library = catalog.load_library(recipe)
    for scene in range(3):
        spec = sample_scene(recipe, scene, library.clip_durations_s)
        assert scene_from_dict(json.loads(json.dumps(scene_to_dict(spec)))) == spec
    subject, pose = spec.subjects[0], spec.frames[0].poses[0]
    assert isinstance(subject, SmplSpec) and isinstance(pose, SmplPose)
    assert subject.model == "SMPLX_MADE.npz" and len(subject.shape.betas) == 10 and len(pose.expression) == 10


def test_a_body_that_is_not_there_is_one_line_that_says_where_to_get_it() -> None:
    recipe = load_recipe("humans_smplx")
    with pytest.raises(UserError) as caught:
        catalog.load_library(recipe)
    message = str(caught.value)
    assert message.startswith("subject.model: no file models/SMPLX_NEUTRAL.npz")
    assert "official SMPL-X site" in message and "\n" not in message


def test_a_body_of_another_kind_and_too_many_coefficients_are_one_line_each(model: Path) -> None:
    named = f"subject.model={model}"
    faceless = ("subject.expression=null", "subject.jaw_deg=null", "subject.body=smplh")
    with pytest.raises(UserError, match=r"^subject\.model: .* it is a SMPL-X model: set subject\.body=smplx$"):
        catalog.load_library(load_recipe("humans_smplx", (named, *faceless)))
    with pytest.raises(UserError, match=r"^subject\.num_betas: 16 is more than the 10 shape coefficients"):
        catalog.load_library(load_recipe("humans_smplx", (named, "subject.num_betas=16")))


def test_recipes_of_bodies_refuse_what_has_no_meaning() -> None:
    with pytest.raises(UserError, match="only smplx takes expression and jaw_deg"):
        load_recipe("humans_smplx", ("subject.body=smpl",))
    with pytest.raises(UserError, match=r"subject\.body: must be anny, smpl, smplh, smplx, got 'smpel'"):
        load_recipe("humans_smplx", ("subject.body=smpel",))
    with pytest.raises(UserError, match="bear the same file name"):
        load_recipe("humans_smplx", ("subject.model={choice: {a/m.npz: 1, b/m.npz: 1}}",))


def test_the_skeleton_of_users_bodies_has_every_joint(model: Path) -> None:
    recipe = load_recipe("humans_smplx", (*CHANGES, f"subject.model={model}"))
    library = catalog.load_library(recipe)
    assert set(library.smpl) == {"SMPLX_MADE.npz"} and library.human is None
    assert len(load_skeleton("human").joints) == 43
