"""Coats on real bases: what is painted lies where it should and meets at the faces' edges."""

from dataclasses import replace

import numpy as np
import pytest

from synthgen.catalog import load_animals
from synthgen.engines.surfaces import sample_texture
from synthgen.subjects.animals.coat import KINDS, REGIONS, Accent, Coat, Markings, paint_coat
from synthgen.subjects.animals.pose import QuadrupedPose
from synthgen.subjects.animals.rig import PART_NAMES
from synthgen.subjects.animals.shape import QuadrupedShape, shape_animal
from synthgen.subjects.animals.subject import AnimalLibrary, pose_quadruped

WHITE, BLACK, RED = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)
NO_MARKINGS = Markings("none", BLACK, BLACK, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
PLAIN = Coat(WHITE, (), NO_MARKINGS, (), None, False, 7)
BASES = ("dog", "horse", "cow")


@pytest.fixture(scope="module")
def animals() -> AnimalLibrary:
    return load_animals(BASES)


def corner_colours(animals: AnimalLibrary, base: str, coat: Coat) -> np.ndarray:
    """[F,4,3] linear colours at the corners of the faces."""
    body = animals.bodies[base]
    painting = paint_coat(body, shape_animal(body, QuadrupedShape(base=base)), coat)
    return sample_texture(painting.image, painting.uv.reshape(-1, 2)).reshape(-1, 4, 3)


def vertex_darkness(animals: AnimalLibrary, base: str, coat: Coat) -> np.ndarray:
    """[V] 0 white to 1 black."""
    faces = animals.bodies[base].faces
    result = np.zeros(len(animals.bodies[base].vertices))
    result[faces] = 1 - corner_colours(animals, base, coat).mean(2)
    return result


def marked(kind: str, **changes: float) -> Coat:
    values = {
        "repeats": 9.0,
        "cover": 0.5,
        "irregularity": 0.2,
        "strength": 1.0,
        "belly": 0.0,
        "legs": 0.0,
        "head": 0.0,
    }
    return replace(PLAIN, markings=Markings(kind, BLACK, BLACK, **{**values, **changes}))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("kind", KINDS)
def test_faces_that_share_a_vertex_have_its_colour_there(animals: AnimalLibrary, base: str, kind: str) -> None:
    body = animals.bodies[base]
    coat = replace(marked(kind), over=(Accent("socks", RED, 0.4),))
    colours = corner_colours(animals, base, coat)
    counts = np.repeat(body.face_parts[:, None] == PART_NAMES.index("fur"), 4, 1)
    counts[:, 3] &= body.faces[:, 3] != body.faces[:, 2]  # a triangle repeats its last corner
    corners, colours = body.faces[counts], colours[counts]
    low, high = np.full((len(body.vertices), 3), 2.0), np.full((len(body.vertices), 3), -1.0)
    np.minimum.at(low, corners, colours)
    np.maximum.at(high, corners, colours)
    seen = np.unique(corners)
    assert np.quantile((high - low)[seen], 0.999) < 1e-3


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("region", REGIONS)
def test_every_region_covers_some_of_an_animal_and_more_when_it_reaches_further(
    animals: AnimalLibrary, base: str, region: str
) -> None:
    little, much = (
        vertex_darkness(animals, base, replace(PLAIN, over=(Accent(region, BLACK, amount),))) for amount in (0.4, 0.9)
    )
    assert 0 < (much > 0.5).sum() < len(much)
    assert (much >= little - 1e-5).all() and much.sum() > little.sum()
    assert not vertex_darkness(animals, base, replace(PLAIN, over=(Accent(region, BLACK, 0.0),))).any()


@pytest.mark.parametrize("base", BASES)
def test_backs_are_above_bellies_and_socks_at_the_feet(animals: AnimalLibrary, base: str) -> None:
    height_m = {}
    for region in ("back", "belly", "socks", "muzzle"):
        dark = vertex_darkness(animals, base, replace(PLAIN, over=(Accent(region, BLACK, 0.5),))) > 0.5
        height_m[region] = animals.bodies[base].vertices[dark, 2].mean()
    assert height_m["socks"] < height_m["belly"] < height_m["back"]
    muzzle = vertex_darkness(animals, base, replace(PLAIN, over=(Accent("muzzle", BLACK, 0.3),))) > 0.5
    nose = animals.bodies[base].landmark_points["nose"]
    assert np.linalg.norm(animals.bodies[base].vertices[muzzle] - nose, axis=1).max() < 0.35 * nose[2]


@pytest.mark.parametrize("base", BASES)
def test_patches_cover_the_share_that_is_asked_for(animals: AnimalLibrary, base: str) -> None:
    for cover in (0.25, 0.6):
        dark = vertex_darkness(animals, base, marked("patches", repeats=1.5, cover=cover))
        is_fur = animals.bodies[base].vertex_parts[:, PART_NAMES.index("fur")]
        assert dark[is_fur].mean() == pytest.approx(cover, abs=0.1)


def test_a_horse_has_as_many_stripes_along_its_trunk_as_asked(animals: AnimalLibrary) -> None:
    body = animals.bodies["horse"]
    dark = vertex_darkness(animals, "horse", marked("stripes", repeats=8.0, irregularity=0.0))
    rump_y, shoulder_y = body.landmark_points["tail_root"][1], body.landmark_points["withers"][1]
    side = (np.abs(body.vertices[:, 2] - 0.75 * body.landmark_points["withers"][2]) < 0.06) & (
        body.vertices[:, 0] > 0.1
    )
    order = np.argsort(body.vertices[side, 1])
    y, is_dark = body.vertices[side, 1][order], dark[side][order] > 0.5
    within = (y > shoulder_y + 0.1) & (y < rump_y - 0.3)
    length = (rump_y - 0.3) - (shoulder_y + 0.1)
    changes = np.count_nonzero(np.diff(is_dark[within]))
    assert changes == pytest.approx(2 * 8 * length / (rump_y - shoulder_y), abs=5)


def test_the_mane_has_its_own_colour_and_hooves_keep_their_material(animals: AnimalLibrary) -> None:
    body = animals.bodies["horse"]
    colours = corner_colours(animals, "horse", replace(PLAIN, base=BLACK, mane=RED))
    for part, expected in (("mane", RED), ("hooves", WHITE), ("fur", BLACK)):
        found = colours[body.face_parts == PART_NAMES.index(part)]
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


def test_the_photo_of_fur_is_tinted_but_never_made_to_shine(animals: AnimalLibrary) -> None:
    fawn = replace(PLAIN, base=(0.67, 0.53, 0.38))
    as_painted, as_factor = (
        corner_colours(animals, "dog", coat)[0, 0] for coat in (fawn, replace(fawn, is_photo=True))
    )
    photo = np.array([0.665, 0.271, 0.155])  # linear mean of the texture
    np.testing.assert_allclose(as_factor[:2] * photo[:2], as_painted[:2], rtol=0.02)
    assert corner_colours(animals, "dog", replace(PLAIN, is_photo=True)).max() <= 1.301


def test_a_seed_fixes_the_layout_and_another_gives_another(animals: AnimalLibrary) -> None:
    coat = marked("rosettes", repeats=12.0)
    first = corner_colours(animals, "dog", coat)
    paint_coat.cache_clear()
    again = corner_colours(animals, "dog", coat)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - corner_colours(animals, "dog", replace(coat, seed=8))).mean() > 0.05


def test_a_coat_changes_only_the_painting_of_a_posed_animal(animals: AnimalLibrary) -> None:
    bare, painted = (
        pose_quadruped(animals, QuadrupedShape(base="cow"), QuadrupedPose(), coat=coat) for coat in (None, PLAIN)
    )
    assert bare.painting is None
    assert painted.painting.uv.shape == (len(bare.faces), 4, 2)
    assert painted.painting.uv.min() > 0 and painted.painting.uv.max() < 1
    np.testing.assert_array_equal(bare.vertices, painted.vertices)
