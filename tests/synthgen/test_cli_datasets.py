"""The commands that look at datasets, as a user calls them: what they print, write and exit with."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from posecore.dataset import Manifest, read_manifest, write_manifest
from synthgen.cli import main

KEY = "00000001-00-00"
COMMANDS = {
    "preview": (),
    "inspect": (KEY,),
    "stats": (),
    "rerender": (KEY,),
    "export": ("--out", "exported"),
    "validate": (),
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `synthgen ARGUMENTS` in an empty folder; gives exit code, output and errors."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["synthgen", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return command


def require_one_line(answer: tuple[int, str, str], message: str) -> None:
    code, _, errors = answer
    assert code == 1 and message in errors and errors.count("\n") == 1 and errors.startswith("error: "), answer
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_folder_is_one_line(run: Run, command: str) -> None:
    require_one_line(run(command, "nowhere", *COMMANDS[command]), "nowhere: no dataset.json there")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "validate"])
def test_an_empty_dataset_is_one_line(run: Run, command: str, tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(name="x", kind="synthetic", shards=()))
    require_one_line(run(command, tmp_path, *COMMANDS[command]), "the dataset is empty")


def test_an_empty_dataset_is_a_problem_to_validate(run: Run, tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(name="x", kind="synthetic", shards=()))
    code, _, errors = run("validate", tmp_path)
    assert code == 1 and "dataset.json: the dataset is empty" in errors


@pytest.mark.parametrize("command", ["inspect", "rerender"])
def test_an_unknown_key_is_one_line_with_the_nearest(run: Run, command: str, people: Path) -> None:
    require_one_line(run(command, people, "00000001-07-00"), "no sample '00000001-07-00'; nearest: 00000001-01-00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("preview", "--start", "8"), "--start 8 is behind the last sample"),
        (("preview", "--skeleton", "cocoa"), "unknown skeleton 'cocoa'"),
        (("inspect", KEY, "--skeleton", "ap10k17"), "'ap10k17' cannot be had from 'human'"),
        (("inspect", KEY, "--out", "x.foo"), "no picture format of that ending"),
        (("stats", "--compare", "nowhere"), "nowhere: no dataset.json there"),
        (("rerender", KEY, "--set", "seed=2"), "only engine.* and image.* can change"),
        (("rerender", KEY, "--set", "image.width=7"), "image.width"),
        (("export", "--out", "exported", "--skeleton", "ap10k17"), "'ap10k17' cannot be had from 'human'"),
    ],
)
def test_other_mistakes_are_one_line_and_write_nothing(
    run: Run, people: Path, arguments: tuple[str, ...], message: str
) -> None:
    require_one_line(run(arguments[0], people, *arguments[1:]), message)


@pytest.mark.parametrize(
    "arguments", [("export",), ("export", "--out", "x", "--format", "yolo"), ("inspect",), ("preview", "--count", "0")]
)
def test_wrong_usage_is_exit_code_two(run: Run, people: Path, arguments: tuple[str, ...]) -> None:
    assert run(arguments[0], people, *arguments[1:])[0] == 2


def test_inspect_prints_tables_and_writes_the_picture_under_the_key(run: Run, people: Path) -> None:
    code, output, _ = run("inspect", people, KEY, "--skeleton", "coco17")
    assert code == 0 and "left_wrist" in output and f"wrote {KEY}.png" in output
    assert Path(f"{KEY}.png").read_bytes()[:4] == b"\x89PNG"


def test_inspect_can_print_the_stored_labels_as_they_are(run: Run, people: Path) -> None:
    code, output, _ = run("inspect", people, KEY, "--json")
    assert code == 0 and json.loads(output)["key"] == KEY and not list(Path().iterdir())


def test_stats_writes_a_page_and_on_demand_the_numbers(run: Run, people: Path, footage: Path) -> None:
    arguments = ("--compare", people, "--out", "page.html", "--json", "numbers.json")
    assert run("stats", footage, *arguments)[0] == 0
    numbers = json.loads(Path("numbers.json").read_text())
    assert [dataset["kind"] for dataset in numbers["datasets"]] == ["real", "synthetic"] and numbers["distances"]
    assert Path("page.html").read_text().startswith("<!doctype html>")


def test_rerender_says_identical_with_code_zero_and_what_differs_with_code_one(
    run: Run, people: Path, tmp_path: Path
) -> None:
    code, output, _ = run("rerender", people, KEY)
    assert code == 0 and f"{KEY}: byte-identical, 6 members" in output and not list(Path().iterdir())

    changed = Path(shutil.copytree(people, tmp_path / "changed"))
    manifest = read_manifest(changed)
    image = manifest.recipe["image"] | {"layers": ["depth"]}
    write_manifest(changed, replace(manifest, recipe=manifest.recipe | {"image": image}))
    code, _, errors = run("rerender", changed, KEY, "--out", "again")
    assert code == 1
    assert f"{KEY}: normal.png: stored, but not rendered now" in errors and "recipe_hash: stored" in errors
    assert {path.name for path in Path("again").iterdir()} >= {f"{KEY}.image.png", f"{KEY}.meta.json"}


def test_a_variant_is_written_without_a_claim(run: Run, people: Path) -> None:
    code, output, _ = run("rerender", people, KEY, "--set", "image.width=96", "--set", "image.height=96")
    assert code == 0 and "identical" not in output
    assert Path(f"{KEY}.image.png").is_file()


def test_export_says_what_it_wrote(run: Run, people: Path) -> None:
    code, output, _ = run("export", people, "--format", "coco", "--out", "coco", "--split", "0.5")
    assert code == 0 and "coco/annotations/keypoints_val.json: 4 images, 4 annotations" in output
    assert len(list(Path("coco/images").iterdir())) == 8


def test_validate_tells_its_speed_and_counts_problems(run: Run, people: Path, tmp_path: Path) -> None:
    code, output, _ = run("validate", people)
    assert code == 0 and "8 samples, no problems" in output and "samples/s" in output
    assert "0 of " in output and "joints visible, but off the subject's mask" in output
    copy = Path(shutil.copytree(people, tmp_path / "copy"))
    next(copy.glob("*.tar")).unlink()
    code, _, errors = run("validate", copy)
    assert code == 1 and errors.splitlines()[-1].endswith("1 problem")
