from pathlib import Path

import pytest
import yaml

from posecore.errors import UserError
from posecore.resources import resource_dir
from synthgen.distributions import Uniform
from synthgen.recipe import Recipe, load_recipe

PACKAGED = sorted(path.stem for path in resource_dir("recipes").glob("*.yaml"))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_recipes_load_and_bear_their_files_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_the_main_recipe_spells_out_every_field() -> None:
    text = yaml.safe_load((resource_dir("recipes") / "humans_dr.yaml").read_text())

    def missing(given: dict, full: dict, path: str = "") -> list[str]:
        lost = [f"{path}{name}" for name in full if name not in given]
        for name, value in given.items():
            if isinstance(value, dict) and isinstance(full.get(name), dict) and name in full:
                tags = {"uniform", "log_uniform", "normal", "choice"}
                if not tags & set(value):
                    lost += missing(value, full[name], f"{path}{name}.")
        return lost

    assert missing(text, load_recipe("humans_dr").to_dict()) == []


def test_a_recipe_survives_the_way_through_the_manifest() -> None:
    recipe = load_recipe("humans_dr")
    assert Recipe.model_validate(recipe.to_dict()) == recipe
    assert Recipe.model_validate(recipe.to_dict()).hash == recipe.hash


def test_the_hash_covers_what_samples_look_like_and_not_their_number() -> None:
    recipe = load_recipe("humans_dr")
    assert load_recipe("humans_dr", ("count=5",)).hash == recipe.hash
    assert load_recipe("humans_dr", ("seed=5",)).hash != recipe.hash


def test_an_extending_recipe_changes_only_what_it_says() -> None:
    base, demo = load_recipe("humans_dr"), load_recipe("demo_humans")
    assert demo.camera.azimuth_deg == Uniform(-60, 60)
    assert demo.camera.fov_deg == base.camera.fov_deg
    assert set(demo.subject.pose.clips.names) < set(base.subject.pose.clips.names)


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(f"extends: {path}\nversion: 1")
    with pytest.raises(UserError, match="extends itself"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("camera.fov_dge=3", r"camera\.fov_dge: unknown key; did you mean fov_deg\?"),
        ("camera.fill={uniform: [0.9, 0.2]}", r"camera\.fill: low must be below high, got low=0.9, high=0.2"),
        ("subject.clothes.thicknes_m=0.01", r"thicknes_m: unknown key; did you mean thickness_m\?"),
        ("image.width=8", r"image\.width: input should be greater than or equal to 16, got 8"),
        ("count=0", r"count: .*greater than or equal to 1"),
        ("subject.kind=robot", r"subject: .*'robot'"),
        ("name=a b", r"name: "),
    ],
)
def test_a_wrong_recipe_is_one_line_with_file_field_and_remedy(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("humans_dr", (override,))
    assert "\n" not in str(caught.value) and "humans_dr.yaml: " in str(caught.value)


def test_scenes_are_whole_frames_and_views() -> None:
    recipe = load_recipe("humans_dr", ("count=7", "frames_per_scene=2", "views_per_frame=2"))
    assert (recipe.samples_per_scene, recipe.num_scenes) == (4, 2)
