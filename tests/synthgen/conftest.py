"""Small datasets that the tests of what looks at datasets share; nobody changes them in place."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from synthgen import catalog
from synthgen.footage.options import PackOptions
from synthgen.footage.pack import pack
from synthgen.generate import render_dataset
from synthgen.library import SubjectLibrary
from synthgen.recipe import load_recipe


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory, library: SubjectLibrary) -> Path:
    """Four scenes of two frames each, with depth, normals and parts."""
    out = tmp_path_factory.mktemp("people") / "data"
    render_dataset(load_recipe("tiny_humans", ("count=8",)), out, num_workers=1, resume=False)
    return out


@pytest.fixture(scope="session")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of one frame and two views, wider than high."""
    changes = ("count=6", "engine.name=painter", "frames_per_scene=1", "views_per_frame=2", "image.format=png")
    recipe = load_recipe("quadrupeds", (*changes, "image.width=80", "image.height=60", "limits.visible_px=60"))
    catalog.load_library(recipe)
    out = tmp_path_factory.mktemp("animals") / "data"
    render_dataset(recipe, out, num_workers=1, resume=False)
    return out


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unlabelled pictures."""
    folder = tmp_path_factory.mktemp("footage")
    rng = np.random.default_rng(0)
    for number in range(3):
        cv2.imwrite(str(folder / f"photo{number}.png"), rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    out = folder / "data"
    pack([folder], out, PackOptions(size_px=32, subjects="frame"), lambda *_: None)
    return out
