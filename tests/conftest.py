"""Fixtures that several tests share: the real bodies and motions, and a tiny recipe that needs no Blender."""

import pytest
from hypothesis import settings

from synthgen import catalog
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def library() -> SubjectLibrary:
    """The human body and the motion clips, fetched and baked on first use."""
    return catalog.load_library(load_recipe("tiny_humans"))


@pytest.fixture
def tiny_recipe() -> Recipe:
    return load_recipe("tiny_humans")
