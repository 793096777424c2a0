import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from synthgen.datasets.inspection import Inspected, find_sample, tables, write_picture


def text(inspected: Inspected, skeleton: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(tables(inspected, skeleton))
    return console.file.getvalue()


def test_tables_tell_every_joint_with_its_place_and_visibility(people: Path) -> None:
    inspected = find_sample(str(people), "00000001-01-00")
    subject = inspected.sample.subjects[0]
    lines = text(inspected).splitlines()
    words = {0: "outside the frame", 1: "hidden by something else", 2: "hidden by itself", 3: "visible"}
    for name, (x, y), level in zip(load_skeleton("human").joints, subject.joints_px, subject.visibility, strict=True):
        assert any(f" {name} " in s and f"{x:.2f}" in s and f"{y:.2f}" in s and words[level] in s for s in lines)
    whole = "\n".join(lines)
    assert "painter" in whole and "body/anny" in whole and "occlusion" in whole and "hdri/" in whole
    assert "right_ear" in text(inspected, "coco17") and "pelvis" not in text(inspected, "coco17")


@pytest.mark.parametrize("skeletons", [(), ("coco17", "h36m17", "smpl24")])
def test_the_picture_has_a_panel_for_each_layer_and_skeleton(
    people: Path, tmp_path: Path, skeletons: tuple[str, ...]
) -> None:
    write_picture(find_sample(str(people), "00000000-00-00"), tmp_path / "all.svg", skeletons)
    svg = (tmp_path / "all.svg").read_text()
    titles = ["picture and boxes", "mask", "parts", "depth, m", "normals, world axes", "from above, world metres"]
    titles += [f"skeleton {name}" for name in skeletons or ("human", "coco17")]
    assert all(f"<!-- {title} -->" in svg for title in titles)


def test_animals_and_footage_are_shown_too(animals: Path, footage: Path, tmp_path: Path) -> None:
    for data in (animals, footage):
        inspected = find_sample(str(data), "00000001-00-00")
        write_picture(inspected, tmp_path / "sheet.png")
        assert cv2.imread(str(tmp_path / "sheet.png")).std() > 10
        assert "00000001-00-00" in text(inspected)
    assert "photo1" in text(inspected)


def test_a_joint_outside_the_frame_is_shown_where_it_is(people: Path, tmp_path: Path) -> None:
    inspected = find_sample(str(people), "00000000-00-00")
    subject = inspected.sample.subjects[0]
    moved = replace(subject, joints_px=subject.joints_px + np.array([40.0, 0]), visibility=0 * subject.visibility)
    sample = replace(inspected.sample, subjects=(moved,))
    for name, shown in (("in", inspected.sample), ("out", sample)):
        write_picture(replace(inspected, sample=shown), tmp_path / f"{name}.png", ("human",))
    first, second = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("in", "out"))
    assert first.shape == second.shape and (first != second).any()


def test_what_cannot_be_inspected_is_one_line(people: Path, animals: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nearest: 00000003-01-00"):
        find_sample(str(people), "00000004-01-00")
    inspected = find_sample(str(animals), "00000000-00-00")
    with pytest.raises(UserError, match="'coco17' cannot be had from 'quadruped'"):
        write_picture(inspected, tmp_path / "x.png", ("coco17",))
    with pytest.raises(UserError, match="unknown skeleton 'cocoa'"):
        write_picture(inspected, tmp_path / "x.png", ("cocoa",))
    with pytest.raises(UserError, match=r"choose \.png"):
        write_picture(inspected, tmp_path / "x.foo")
    assert not list(tmp_path.iterdir())
