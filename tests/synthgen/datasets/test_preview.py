from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.dataset import Manifest, write_manifest
from posecore.errors import UserError
from posecore.overlay import legend
from synthgen.datasets.preview import write_preview

LINE_PX = 17  # a key under each tile


def tiles(sheet: np.ndarray, columns: int, rows: int, tile_px: int) -> list[np.ndarray]:
    cell = tile_px + 4
    return [
        sheet[4 + row * (cell + LINE_PX) :][:tile_px, 4 + column * cell :][:, :tile_px]
        for row in range(rows)
        for column in range(columns)
    ]


def test_a_preview_shows_as_many_tiles_as_asked_with_keys_and_legend(people: Path, tmp_path: Path) -> None:
    write_preview(people, tmp_path / "sheet.png", count=4, columns=2, tile_px=128)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    width, height = 2 * 132 + 4, 2 * (132 + LINE_PX) + 4
    assert sheet.shape == (height + legend(width).shape[0], width, 3)
    assert all(tile.std() > 10 for tile in tiles(sheet, 2, 2, 128))
    under_first = sheet[4 + 128 : 4 + 128 + LINE_PX, 4:132]
    assert under_first.min() < 150  # ink


def test_pages_follow_each_other_without_overlap(people: Path, tmp_path: Path) -> None:
    pages = []
    for start in (0, 4):
        write_preview(people, tmp_path / f"{start}.png", count=4, columns=4, tile_px=64, start=start)
        pages.append(cv2.imread(str(tmp_path / f"{start}.png")))
    write_preview(people, tmp_path / "all.png", count=8, columns=4, tile_px=64, start=0)
    whole = tiles(cv2.imread(str(tmp_path / "all.png")), 4, 2, 64)
    paged = tiles(pages[0], 4, 1, 64) + tiles(pages[1], 4, 1, 64)
    assert all(np.array_equal(a, b) for a, b in zip(whole, paged, strict=True))


def test_the_last_page_may_be_shorter_and_there_is_none_after_it(people: Path, tmp_path: Path) -> None:
    write_preview(people, tmp_path / "last.png", count=4, columns=4, tile_px=64, start=7)
    assert cv2.imread(str(tmp_path / "last.png")).shape[1] == 68 + 4
    with pytest.raises(UserError, match="there are 8, numbered from 0"):
        write_preview(people, tmp_path / "none.png", start=8)


def test_rows_hold_whole_moments_where_there_are_several_views(animals: Path, tmp_path: Path) -> None:
    write_preview(animals, tmp_path / "sheet.png", count=6, columns=5, tile_px=64)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 4 * 68 + 4


def test_real_footage_needs_no_legend(footage: Path, tmp_path: Path) -> None:
    write_preview(footage, tmp_path / "sheet.jpg", count=3, columns=3, tile_px=32)
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape == (36 + LINE_PX + 4, 3 * 36 + 4, 3)


def test_what_cannot_be_shown_is_one_line(animals: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dataset\.json"):
        write_preview(tmp_path, tmp_path / "sheet.png")
    with pytest.raises(UserError, match="'h36m17' cannot be had from 'quadruped'"):
        write_preview(animals, tmp_path / "sheet.png", skeleton="h36m17")
    write_manifest(tmp_path, Manifest(name="x", kind="synthetic", shards=()))
    with pytest.raises(UserError, match="empty"):
        write_preview(tmp_path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
