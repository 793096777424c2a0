import numpy as np

from posecore.overlay import SIDE_COLOURS, contact_sheet, draw_skeleton
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
