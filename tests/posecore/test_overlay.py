import numpy as np

from posecore.overlay import SIDE_COLOURS, contact_sheet, draw_box, draw_skeleton, legend
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE
from posecore.skeleton import load_skeleton


def test_left_and_right_limbs_are_drawn_in_their_own_colours_where_the_joints_are() -> None:
    skeleton = load_skeleton("h36m17")
    image = np.zeros((128, 128, 3), np.uint8)
    joints = np.full((17, 2), np.nan)
    joints[skeleton.index("left_knee")], joints[skeleton.index("left_ankle")] = (20.5, 20.5), (20.5, 100.5)
    joints[skeleton.index("right_knee")], joints[skeleton.index("right_ankle")] = (90.5, 20.5), (90.5, 100.5)
    drawn = draw_skeleton(image, joints, skeleton, thickness=3)
    assert tuple(drawn[60, 20]) == SIDE_COLOURS["left"]
    assert tuple(drawn[60, 90]) == SIDE_COLOURS["right"]
    assert not image.any()


def test_unknown_joints_draw_nothing() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    assert not draw_skeleton(image, np.full((17, 2), np.nan), load_skeleton("coco17")).any()


def test_a_contact_sheet_holds_every_picture() -> None:
    tiles = [np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(tiles, columns=2, gap_px=2)
    assert sheet.shape == (22, 22, 3)
    assert {10, 20, 30} <= set(np.unique(sheet).tolist())


def test_a_joint_that_something_else_hides_is_ringed_in_a_colour_of_its_own() -> None:
    skeleton = load_skeleton("h36m17")
    joints = np.full((17, 2), np.nan)
    joints[skeleton.index("left_knee")] = (16.5, 16.5)
    green_of_blue = {}
    for level in (HIDDEN_BY_OTHER, HIDDEN_BY_SELF, VISIBLE):
        visibility = np.full(17, level)
        drawn = draw_skeleton(np.zeros((32, 32, 3), np.uint8), joints, skeleton, visibility, thickness=3)
        assert (drawn[16, 16].any()) == (level == VISIBLE)
        _, green, blue = drawn.reshape(-1, 3).sum(axis=0, dtype=float)
        green_of_blue[level] = green / blue
    assert green_of_blue[HIDDEN_BY_OTHER] < 0.5 and green_of_blue[HIDDEN_BY_SELF] > 3 < green_of_blue[VISIBLE]
    outside = draw_skeleton(np.zeros((32, 32, 3), np.uint8), joints, skeleton, np.full(17, OUTSIDE))
    assert not outside.any()


def test_a_box_lies_on_the_outermost_pixels_of_what_it_holds() -> None:
    drawn = draw_box(np.zeros((20, 20, 3), np.uint8), np.array([4.0, 5, 8, 6]))
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 10, 4, 11)
    assert not draw_box(np.zeros((20, 20, 3), np.uint8), np.zeros(4)).any()


def test_labels_stand_under_their_pictures_and_leave_those_alone() -> None:
    images = [np.full((20, 60, 3), value, np.uint8) for value in (10, 200)]
    plain = contact_sheet(images, columns=2)
    labelled = contact_sheet(images, columns=2, labels=["one", "a label much too long for so narrow a picture"])
    assert labelled.shape[0] > plain.shape[0] and labelled.shape[1] == plain.shape[1]
    assert np.array_equal(labelled[4:24], plain[4:24])
    beneath = labelled[24:]
    assert beneath[:, 4:64].min() < 150 and beneath[:, 68:128].min() < 150 and (beneath[:, 64:68] == 255).all()


def test_the_legend_fits_any_width() -> None:
    wide, narrow = legend(1200), legend(200)
    assert wide.shape[1] == 1200 and narrow.shape[1] == 200 and narrow.shape[0] > 3 * wide.shape[0]


def test_an_unsure_joint_lets_the_picture_through() -> None:
    skeleton = load_skeleton("h36m17")
    joints = np.full((17, 2), np.nan)
    hip, knee, ankle = (skeleton.index(f"left_{name}") for name in ("hip", "knee", "ankle"))
    joints[[hip, knee, ankle]] = [[20, 10], [20, 50], [20, 90]]
    ground = np.full((100, 40, 3), 100, np.uint8)
    opacity = np.zeros(17)
    opacity[[hip, knee, ankle]] = [1.0, 1.0, 0.5]
    drawn = draw_skeleton(ground, joints, skeleton, thickness=3, opacity=opacity)
    plain = draw_skeleton(ground, joints, skeleton, thickness=3)
    assert np.array_equal(drawn[30, 20], plain[30, 20])  # the thigh's ends are both sure
    halfway = (plain[70, 20].astype(int) + 100) / 2
    assert np.abs(drawn[70, 20] - halfway).max() <= 1  # the shank is as faint as its ankle
    assert np.array_equal(drawn[:, :10], ground[:, :10])
