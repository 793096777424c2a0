"""What is drawn for people follows from what else is drawn for them."""

import colorsys

import pytest

from synthgen.randomness import Draws
from synthgen.recipe import load_recipe
from synthgen.recipe.material import PALETTE, PATTERNS, MaterialRecipe
from synthgen.sampling.human import sample_face, sample_human
from synthgen.sampling.material import sample_laid_material
from synthgen.subjects.people.body_changes import CHANGE_NAMES


def people(count: int, *overrides: str):
    recipe = load_recipe("humans_dr", overrides).subject
    return [sample_human(recipe, Draws(1, number).within("subject")) for number in range(count)]


def test_only_men_have_beards_and_no_man_wears_a_skirt() -> None:
    for person in people(300, "subject.clothes.bottom=skirt", "subject.clothes.beard=full"):
        is_man = person.shape.gender < 0.4 and person.shape.age > 0.52
        assert (person.wardrobe.beard == "full") == is_man
        assert person.wardrobe.bottom == ("shorts" if is_man else "skirt")


def test_dark_skin_has_no_blond_hair_and_the_old_are_grey() -> None:
    dark = people(100, "subject.looks.skin_tone=9", "subject.looks.hair_colour=blond", "subject.shape.age=0.6")
    assert max(max(person.complexion.hair) for person in dark) < 0.25
    old = people(100, "subject.looks.skin_tone=2", "subject.looks.hair_colour=red", "subject.shape.age=1")
    grey = [colorsys.rgb_to_hsv(*person.complexion.hair)[1] < 0.15 for person in old]
    assert 0.8 < sum(grey) / len(grey) < 1


def test_skin_darkens_along_the_scale_and_its_materials_agree() -> None:
    levels = []
    for tone in (1, 3, 5, 7, 9):
        some = people(20, f"subject.looks.skin_tone={tone}")
        assert all(person.materials["skin"].colours[0] == person.complexion.skin for person in some)
        levels.append(sum(sum(person.complexion.skin) for person in some) / len(some))
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < 0.25 * levels[0]


def test_a_dress_is_of_one_fabric() -> None:
    for probability, alike in ((1, True), (0, False)):
        for person in people(40, "subject.clothes.bottom=skirt", f"subject.clothes.dress={probability}"):
            if person.wardrobe.bottom == "skirt":
                assert (person.materials["top"] == person.materials["bottom"]) == alike


def test_faces_are_actions_of_the_body_with_strengths_of_0_to_1() -> None:
    recipe = load_recipe("humans_dr").subject.expression
    faces = [sample_face(recipe, Draws(3, number)) for number in range(300)]
    assert all(0 < strength <= 1 for face in faces for strength in face.values())
    assert 0.15 < sum(not face for face in faces) / len(faces) < 0.45
    smiles = [face for face in faces if "mouthSmileLeft" in face]
    assert len(smiles) > 30 and all("mouthSmileRight" in face for face in smiles)


def test_changes_are_as_many_as_the_recipe_says_and_have_their_names() -> None:
    for person in people(30, "subject.shape.changes={uniform: [3, 9]}"):
        names = [name for name, _ in person.shape.changes]
        assert 3 <= len(names) <= 9 and len(set(names)) == len(names) and set(names) <= set(CHANGE_NAMES)


@pytest.mark.parametrize("family", [name for name in PALETTE if name != "any"])
def test_colours_of_a_family_stay_in_it(family: str) -> None:
    recipe = MaterialRecipe.model_validate({"pattern": "plain", "palette": family})
    for number in range(20):
        for colour in sample_laid_material(recipe, Draws(2, number)).colours:
            assert all(0 <= channel <= 1 for channel in colour)
            hue, saturation, value = colorsys.rgb_to_hsv(*colour)
            if family in ("navy", "blue", "denim"):
                assert 0.5 < hue < 0.7
            if family == "black":
                assert value < 0.14
            if family == "white":
                assert value > 0.79 and saturation < 0.07


def test_every_pattern_of_recipes_is_one_of_the_specs() -> None:
    for pattern in PATTERNS:
        recipe = MaterialRecipe.model_validate({"pattern": pattern})
        assert sample_laid_material(recipe, Draws(0, 0)).pattern == pattern
