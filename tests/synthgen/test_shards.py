"""One scene after another without Blender: what happens when the work on a scene raises."""

from collections.abc import Callable

import pytest

from posecore.sample import Sample
from synthgen.engines.painter import PainterRenderer
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.renderer import Passes
from synthgen.shards import UnsoundSampleError, render_scene
from synthgen.stage import Stage


class Faulty(PainterRenderer):
    """Raises whenever `fault` says so, told the attempt of the scene and how often it has been called."""

    def __init__(self, fault: Callable[[int, int], bool], error: type[Exception] = ZeroDivisionError) -> None:
        super().__init__()
        self.fault, self.error, self.calls = fault, error, 0

    def set_stage(self, stage: Stage) -> None:
        super().set_stage(stage)
        self.attempt = stage.spec.attempt

    def render(self, frame: int, view: int) -> Passes:
        self.calls += 1
        if self.fault(self.attempt, self.calls):
            raise self.error("no luck")
        return super().render(frame, view)


def render(recipe: Recipe, library: SubjectLibrary, renderer: PainterRenderer) -> tuple[list[Sample], list[str], list]:
    problems: list[str] = []
    samples, rejects = render_scene(0, recipe, library, renderer, {}, problems.append)
    return samples, rejects, problems


def test_a_draw_that_raises_twice_is_counted_and_drawn_anew(tiny_recipe: Recipe, library: SubjectLibrary) -> None:
    samples, rejects, problems = render(tiny_recipe, library, Faulty(lambda attempt, _: attempt == 0))
    assert rejects == ["raised ZeroDivisionError"] and len(samples) == 2
    assert samples[0].provenance["spec"]["attempt"] == 1
    (line,) = problems
    assert line.startswith("scene 0 raised ZeroDivisionError: no luck (test_shards.py:") and "\n" not in line


def test_an_accident_does_not_change_what_the_scene_holds(tiny_recipe: Recipe, library: SubjectLibrary) -> None:
    expected, _, _ = render(tiny_recipe, library, PainterRenderer())
    samples, rejects, problems = render(tiny_recipe, library, Faulty(lambda _, calls: calls == 2))
    assert rejects == problems == []
    assert [(s.key, s.image.tobytes()) for s in samples] == [(s.key, s.image.tobytes()) for s in expected]


@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_what_is_not_the_scenes_fault_ends_the_work_at_once(
    tiny_recipe: Recipe, library: SubjectLibrary, error: type[Exception]
) -> None:
    renderer = Faulty(lambda *_: True, error)
    with pytest.raises(error):
        render(tiny_recipe, library, renderer)
    assert renderer.calls == 1


def test_a_fault_of_the_program_is_not_drawn_away(tiny_recipe: Recipe, library: SubjectLibrary) -> None:
    renderer = Faulty(lambda *_: True)
    with pytest.raises(ZeroDivisionError):
        render(tiny_recipe, library, renderer)
    assert renderer.attempt == 2 and renderer.calls == 6


def test_an_unsound_sample_never_reaches_a_shard(
    tiny_recipe: Recipe, library: SubjectLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthgen.shards.validate", lambda sample: ["joints are astray"])
    with pytest.raises(UnsoundSampleError, match="00000000-00-00: joints are astray"):
        render(tiny_recipe, library, PainterRenderer())


def test_people_with_a_limb_inside_the_body_are_drawn_anew_before_anything_is_rendered(library: SubjectLibrary) -> None:
    folded = {"free": 1, "postures": "sit_knees_up", "arms": "crossed"}
    recipe = load_recipe("tiny_humans", tuple(f"subject.pose.{knob}={value}" for knob, value in folded.items()))
    num_folded = 0
    for scene in range(12):
        renderer = Faulty(lambda *_: False)
        _, rejects = render_scene(scene, recipe, library, renderer, {})
        if set(rejects) == {"self_penetration"}:
            assert renderer.calls == recipe.samples_per_scene
            num_folded += 1
    assert num_folded > 0
