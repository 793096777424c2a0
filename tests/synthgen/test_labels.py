from dataclasses import replace

import numpy as np
import pytest

from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE, Sample, validate
from posecore.skeleton import load_skeleton
from synthgen.datasets.sample_checks import sample_problems
from synthgen.engines.painter import PainterRenderer
from synthgen.labels import label, reason_to_reject
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import CameraSpec
from synthgen.stage import build_stage

HUMAN = load_skeleton("human")


def render(recipe: Recipe, library: SubjectLibrary, scene: int, camera: CameraSpec | None = None) -> Sample:
    spec = sample_scene(recipe, scene, library.clip_durations_s)
    if camera is not None:
        spec = replace(spec, cameras=(camera,))
    stage = build_stage(spec, library)
    renderer = PainterRenderer()
    renderer.set_stage(stage)
    return label(stage, renderer.render(0, 0), 0, 0, recipe, {"recipe": recipe.name, "recipe_hash": recipe.hash})


@pytest.fixture
def walking() -> Recipe:
    """An upright person alone in front of the camera."""
    return load_recipe(
        "tiny_humans", ("subject.pose.clips=walk", "subject.pose.jitter_deg=0", "world.clutter=0", "world.occluders=0",
                        "image.width=128", "image.height=128")
    )  # fmt: skip


@pytest.mark.parametrize("scene", range(6))
def test_samples_of_the_widest_recipe_are_sound(scene: int, library: SubjectLibrary) -> None:
    sample = render(load_recipe("humans_dr", ("image.layers=[depth, normal, parts]",)), library, scene)
    assert validate(sample) == [] and sample_problems(sample) == []


def test_visible_joints_lie_in_the_mask(walking: Recipe, library: SubjectLibrary) -> None:
    for scene in range(4):
        sample = render(walking, library, scene)
        subject = sample.subjects[0]
        column, row = np.floor(subject.joints_px[subject.visibility == VISIBLE]).astype(int).T
        near = np.array(
            [sample.mask[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3].any() for r, c in zip(row, column, strict=True)]
        )
        assert near.mean() >= 0.99


def test_from_behind_the_face_is_hidden_by_the_person(walking: Recipe, library: SubjectLibrary) -> None:
    front = render(walking, library, 0, CameraSpec(0, 5, 0, 40, 0.85, (0, 0))).subjects[0]
    back = render(walking, library, 0, CameraSpec(180, 5, 0, 40, 0.85, (0, 0))).subjects[0]
    face = [HUMAN.index(name) for name in ("nose", "left_eye", "right_eye")]
    assert (front.visibility[face] == VISIBLE).all()
    assert (back.visibility[face] == HIDDEN_BY_SELF).all()


def test_left_joints_project_left_of_right_ones_from_behind(walking: Recipe, library: SubjectLibrary) -> None:
    back = render(walking, library, 0, CameraSpec(180, 5, 0, 40, 0.85, (0, 0))).subjects[0]
    for joint in ("shoulder", "hip", "ear"):
        left, right = (back.joints_px[HUMAN.index(f"{side}_{joint}"), 0] for side in ("left", "right"))
        assert left < right


def test_a_thing_in_front_hides_joints_and_counts_as_occlusion(walking: Recipe, library: SubjectLibrary) -> None:
    alone = render(walking, library, 1).subjects[0]
    behind = load_recipe(
        "tiny_humans",
        ("subject.pose.clips=walk", "subject.pose.jitter_deg=0", "world.occluders=3", "world.occluder_size=0.4"),
    )
    hidden = [render(behind, library, scene).subjects[0] for scene in range(6)]
    assert alone.occlusion == 0
    assert max(subject.occlusion for subject in hidden) > 0.1
    assert any((subject.visibility == HIDDEN_BY_OTHER).any() for subject in hidden)


def test_what_leaves_the_frame_is_outside_and_counts_as_truncation(walking: Recipe, library: SubjectLibrary) -> None:
    sample = render(walking, library, 0, CameraSpec(20, 5, 0, 40, 0.9, (0.0, 0.45)))
    subject = sample.subjects[0]
    assert 0.2 < subject.truncation < 0.8
    assert (subject.visibility[[HUMAN.index("left_ankle"), HUMAN.index("right_ankle")]] == OUTSIDE).all()
    assert subject.joints_px[HUMAN.index("left_ankle"), 1] > sample.camera.height  # true, not clipped
    assert render(walking, library, 0, CameraSpec(20, 5, 0, 40, 0.8, (0, 0))).subjects[0].truncation == 0


def test_samples_that_show_too_little_are_rejected_with_the_reason(walking: Recipe, library: SubjectLibrary) -> None:
    sample = render(walking, library, 0)
    truncated = replace(sample, subjects=(replace(sample.subjects[0], truncation=0.9),))
    occluded = replace(sample, subjects=(replace(sample.subjects[0], occlusion=0.9),))
    assert reason_to_reject(sample, walking) is None
    assert reason_to_reject(truncated, walking) == "truncated"
    assert reason_to_reject(occluded, walking) == "occluded"
    assert reason_to_reject(replace(sample, mask=np.zeros_like(sample.mask)), walking) == "too_small"


def test_depth_and_parts_belong_to_the_subject(walking: Recipe, library: SubjectLibrary) -> None:
    sample = render(walking, library, 2)
    distance = np.linalg.norm(sample.camera.position_world - sample.subjects[0].joints_world_m.mean(axis=0))
    on_body = sample.depth_m[sample.mask == 1].astype(float)
    assert np.abs(on_body - distance).max() < 1.5
    assert (sample.parts[sample.mask == 1] > 0).all() and (sample.parts[sample.mask == 0] == 0).all()
