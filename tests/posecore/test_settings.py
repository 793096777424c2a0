from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from posecore.errors import UserError
from posecore.settings import find_settings, load_settings


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    distance_m: float = Field(1.0, gt=0)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    camera: Inner = Inner()

    @model_validator(mode="after")
    def _is_not_nameless(self) -> "Outer":
        if not self.name:
            raise ValueError("a recipe needs a name")
        return self


def load(tmp_path: Path, text: str, *overrides: str) -> Outer:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return load_settings(Outer, str(path), tmp_path, "recipe", overrides)


def test_overrides_replace_values_at_their_path(tmp_path: Path) -> None:
    assert load(tmp_path, "name: a", "camera.distance_m=2.5").camera.distance_m == 2.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ncamera: {distnce_m: 2}", r"some\.yaml: camera\.distnce_m: unknown key; did you mean distance_m\?"),
        ("camera: {}", r"name: missing"),
        ("name: a\ncamera: {distance_m: -1}", r"camera\.distance_m: input should be greater than 0, got -1"),
        ("name: ''", r"some\.yaml: a recipe needs a name"),
        ("- a", "expected a mapping"),
        ("name: [", "not valid YAML"),
    ],
)
def test_bad_settings_are_one_line_with_the_path_to_the_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["camera", "=3", "name.x=1", "name=["])
def test_bad_overrides_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError, match="--set"):
        load(tmp_path, "name: a", override)


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "humans_dr.yaml").write_text("name: a")
    assert find_settings("humans_dr", tmp_path, "recipe") == tmp_path / "humans_dr.yaml"
    assert find_settings("humans_dr.yaml", tmp_path, "recipe") == tmp_path / "humans_dr.yaml"
    with pytest.raises(UserError, match=r"no recipe 'human_dr.yaml'.*did you mean humans_dr\?"):
        find_settings("human_dr.yaml", tmp_path, "recipe")


def test_an_extending_file_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: base\ncamera: {distance_m: 3}")
    extended = load(tmp_path, "extends: base\nname: mine")
    assert (extended.name, extended.camera.distance_m) == ("mine", 3)
    with pytest.raises(UserError, match=r"no recipe to extend 'bsae'.*did you mean base\?"):
        load(tmp_path, "extends: bsae\nname: mine")
