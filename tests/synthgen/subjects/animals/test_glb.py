"""Reading the packaged GLB animals: the real files, fetched on first use."""

import numpy as np
import pytest

from synthgen.catalog import fetch
from synthgen.subjects.animals.bake import CLIP_ACTIONS, GLB_WITHERS_M, glb_body
from synthgen.subjects.animals.glb import read_glb
from synthgen.subjects.animals.rig import BONE, PARENTS, AnimalBody, load_animal_clips, save_animal
from synthgen.subjects.skinning import bone_positions


@pytest.fixture(scope="module")
def wolf():
    return read_glb(fetch("body/wolf"))


def test_a_wolf_faces_minus_y_with_its_left_at_plus_x(wolf):
    place = dict(zip(wolf.bone_names, wolf.bone_heads, strict=True))
    assert place["Head"][1] < place["Torso"][1] < place["Tail8"][1]
    assert place["FrontUpperLeg.L"][0] > 0 > place["FrontUpperLeg.R"][0]
    assert place["Head"][2] > place["IKFrontLeg.L"][2] > 0
    assert wolf.weights.sum(1) == pytest.approx(1)
    assert set(wolf.clips) <= set(CLIP_ACTIONS)


def test_in_a_clip_the_paws_hang_on_the_legs_as_they_do_at_rest(wolf):
    """The file moves them on their own; that they may be hung on the legs, to be posed freely, is what is shown."""
    at = {name: column for column, name in enumerate(wolf.bone_names)}
    for clip in ("Walk", "Gallop"):
        moved = wolf.clips[clip]
        for leg, paw in (("FrontLowerLeg.L", "IKFrontLeg.L"), ("BackLowerLeg.R", "IKBackLeg.R")):
            rest = wolf.bone_heads[at[paw]] - wolf.bone_heads[at[leg]]
            hung = moved.positions[:, at[leg]] + moved.rotations[:, at[leg]] @ rest
            assert np.linalg.norm(hung - moved.positions[:, at[paw]], axis=1).max() < 0.05 * np.ptp(wolf.vertices[:, 2])


@pytest.mark.parametrize("base", ["fox", "bull"])
def test_a_base_is_as_high_as_its_kind_and_comes_back_from_its_file(tmp_path, base):
    body, clips = glb_body(base, read_glb(fetch(f"body/{base}")), GLB_WITHERS_M[base])
    assert body.landmark_points["withers"][2] == pytest.approx(GLB_WITHERS_M[base], rel=1e-3)
    assert body.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert body.weights.sum(1) == pytest.approx(1, abs=1e-5)
    save_animal(body, clips, tmp_path / "base.npz")
    again, clips_again = AnimalBody.load(tmp_path / "base.npz"), load_animal_clips(tmp_path / "base.npz")
    assert np.array_equal(again.vertices, body.vertices) and np.array_equal(again.faces, body.faces)
    assert again.landmarks.keys() == body.landmarks.keys()
    assert clips_again.keys() == clips.keys() and clips_again["death"].loops is False
    assert clips_again["walk"].turns == pytest.approx(clips["walk"].turns, abs=1e-6)


def test_every_bone_has_a_place_on_the_middle_line_or_opposite_its_pair():
    body, _ = glb_body("stag", read_glb(fetch("body/stag")), 1.2)
    for name, bone in BONE.items():
        if name.endswith("_L"):
            other = body.heads[BONE[name[:-1] + "R"]] * [-1, 1, 1]
            assert body.heads[bone] == pytest.approx(other, abs=0.05)
        elif not name.endswith("_R"):
            assert abs(body.heads[bone, 0]) < 0.02
    still = bone_positions(body.heads, PARENTS, np.tile(np.eye(3), (len(PARENTS), 1, 1)))
    assert still == pytest.approx(body.heads)


def test_what_is_no_animal_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"no .*unicorn.glb: pass a file"):
        read_glb(tmp_path / "unicorn.glb")
    (tmp_path / "text.glb").write_bytes(b"no animal at all")
    with pytest.raises(ValueError, match=r"text.glb is no GLB file"):
        read_glb(tmp_path / "text.glb")
