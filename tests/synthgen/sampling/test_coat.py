import json
from dataclasses import asdict

import numpy as np
import pytest
from pydantic import TypeAdapter

from synthgen.randomness import Draws
from synthgen.recipe.quadruped import CoatRecipe
from synthgen.sampling.coat import coat_styles, sample_coat
from synthgen.scene import Material
from synthgen.subjects.animals.coat import Coat
from synthgen.subjects.animals.rig import PART_NAMES
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import TEXTURE_ASSET


def draw(name: str, scene: int, has_photo: bool = False, **changes: object) -> tuple[Coat, dict[str, Material]]:
    recipe = CoatRecipe.model_validate(changes)
    return sample_coat(recipe, name, has_photo, TEXTURE_ASSET, Draws(1, scene))


def test_every_species_has_coats_and_no_other_does() -> None:
    assert set(coat_styles().species) == set(species())


def test_coats_name_only_colours_that_there_are() -> None:
    named = set()
    for style in [style for styles in coat_styles().species.values() for style in styles]:
        for names, ends in [*style.under.values(), *style.over.values()]:
            named.update(names)
            assert 0 <= ends[0] <= ends[1] <= 1
        markings = () if style.markings is None else (*style.markings.colour, *style.markings.second)
        named.update(style.base, style.nose, style.iris, style.hooves, style.mane or (), markings)
    assert named <= set(coat_styles().colours)


@pytest.mark.parametrize("name", species())
def test_every_part_has_a_material_and_every_number_is_in_its_range(name: str) -> None:
    for scene in range(12):
        for typical in (0, 1):
            coat, materials = draw(name, scene, typical=typical)
            assert set(materials) == set(PART_NAMES)
            colours = [coat.base, coat.markings.colour, coat.markings.second]
            colours += [accent.colour for accent in (*coat.under, *coat.over)]
            assert np.min(colours) >= 0 and np.max(colours) <= 1
            assert all(0 <= accent.amount <= 1 for accent in (*coat.under, *coat.over))
            numbers = asdict(coat.markings)
            assert all(0 <= numbers[key] <= 1 for key in ("cover", "irregularity", "strength", "belly", "legs", "head"))


def test_a_typical_zebra_is_striped_dark_on_light_and_a_random_one_is_anything() -> None:
    typical = [draw("zebra", scene, typical=1)[0] for scene in range(20)]
    assert {coat.markings.kind for coat in typical} == {"stripes"}
    assert all(np.mean(coat.base) > 0.6 and np.mean(coat.markings.colour) < 0.25 for coat in typical)
    free = [draw("zebra", scene, typical=0)[0] for scene in range(60)]
    assert len({coat.markings.kind for coat in free}) == 6
    assert len({len(coat.under) + len(coat.over) for coat in free}) >= 5


def test_black_and_tan_dogs_are_tan_alike_on_legs_and_muzzle() -> None:
    for scene in range(200):
        coat, _ = draw("dachshund", scene, typical=1)
        tan = {accent.colour for accent in coat.over if accent.region in ("legs", "muzzle", "chest")}
        if len([accent for accent in coat.over if accent.region in ("legs", "muzzle", "chest")]) == 3:
            assert len(tan) == 1
            return
    pytest.fail("no black and tan among 200")


def test_the_photo_is_taken_only_where_mesh_and_coat_suit_it() -> None:
    assert not any(draw("dog", scene, photo=1)[0].is_photo for scene in range(20))
    dogs = [draw("dog", scene, True, photo=1, typical=1) for scene in range(60)]
    assert 0 < sum(coat.is_photo for coat, _ in dogs) < 60
    assert all((materials["fur"].texture == TEXTURE_ASSET) == coat.is_photo for coat, materials in dogs)
    assert not any(draw("tiger", scene, True, photo=1, typical=1)[0].is_photo for scene in range(20))


def test_a_coat_survives_json_exactly() -> None:
    for scene in range(10):
        coat, _ = draw("leopard", scene)
        assert TypeAdapter(Coat).validate_python(json.loads(json.dumps(asdict(coat)))) == coat


def test_one_knob_changes_no_other_draw() -> None:
    (before, own), (after, other) = (draw("cow", 5, typical=1, sheen=sheen) for sheen in (0.1, 0.7))
    assert before == after
    assert own["nose"] == other["nose"] and own["fur"].sheen == 0.1 and other["fur"].sheen == 0.7
