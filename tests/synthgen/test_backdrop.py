from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from synthgen.backdrop import lay_behind, photo_ids
from synthgen.catalog import asset_finder, assets_of
from synthgen.recipe import load_recipe
from synthgen.sampling.scene import sample_scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = (0, 0, 255)  # a red middle
    cv2.imwrite(str(tmp_path / "b.png"), picture)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_photos_are_the_pictures_of_a_folder_by_name(folder: Path) -> None:
    assert photo_ids(str(folder)) == ("photo/a.png", "photo/b.png")


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UserError, match=r"^world\.photos: no picture .*name a folder of photos"):
            assets_of(load_recipe("humans_dr", (f"world.photos={place}", "world.photo=1")))


def test_a_photo_needs_a_folder() -> None:
    with pytest.raises(UserError, match=r"world: .*there is no folder of photos"):
        load_recipe("humans_dr", ("world.photo=0.5",))


def test_a_scene_before_a_photo_has_neither_floor_nor_wall_nor_things(folder: Path) -> None:
    recipe = load_recipe("humans_dr", (f"world.photos={folder}", "world.photo=1", "world.occluders=0"))
    spec = sample_scene(recipe, 0, {name: 1.0 for name in recipe.subject.pose.clips.names})
    assert spec.world.photo in ("photo/a.png", "photo/b.png")
    assert (spec.world.floor, spec.world.wall, spec.props) == (None, None, ())
    assert asset_finder(recipe)(spec.world.photo).parent == folder


def test_the_photo_shows_where_nothing_stands_cropped_to_the_picture_and_as_bright_as_the_subjects(
    folder: Path,
) -> None:
    radiance = np.zeros((10, 10, 3))
    coverage = np.zeros((10, 10))
    radiance[:5], coverage[:5] = 0.25, 1.0
    result = lay_behind(radiance, coverage, coverage > 0.5, folder / "a.png")
    assert result[:5] == pytest.approx(0.25)
    assert result[5:].mean() == pytest.approx(0.25, rel=0.01)
    assert (result[5:, :, 0] > 0.1).all() and result[
        5:, :, 1:
    ].max() < 0.01  # its red middle third, as wide as it is high
