"""Whole datasets without Blender: exactly once, same bytes, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import psutil
import pytest

from posecore.dataset import read_manifest
from posecore.errors import UserError
from synthgen.datasets.validate import validate_dataset
from synthgen.generate import count_finished, render_dataset
from synthgen.library import SubjectLibrary
from synthgen.pool import SceneDone, ShardDone, ShardLost, render_shards
from synthgen.recipe import Recipe, load_recipe
from synthgen.shards import plan_shards

pytestmark = pytest.mark.usefixtures("library")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, library: SubjectLibrary) -> Path:
    out = tmp_path_factory.mktemp("whole") / "data"
    render_dataset(load_recipe("tiny_humans"), out, num_workers=1, resume=False)
    return out


def test_a_rendered_dataset_is_complete_sound_and_described(uninterrupted: Path, tiny_recipe: Recipe) -> None:
    manifest = read_manifest(uninterrupted)
    assert [shard.count for shard in manifest.shards] == [4, 4]
    assert list(validate_dataset(uninterrupted)) == []
    assert manifest.recipe == tiny_recipe.to_dict() and manifest.seed == tiny_recipe.seed
    assert set(manifest.skeletons) == {"human", "quadruped"}
    assert {"asset", "licence", "source"} == set(manifest.licences[0])
    assert manifest.statistics["samples"] == 8
    assert sorted(p.name for p in uninterrupted.iterdir()) == [
        "dataset.json", "tiny_humans-000000.tar", "tiny_humans-000001.tar",
    ]  # fmt: skip


def test_any_number_of_workers_gives_the_same_bytes(uninterrupted: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    render_dataset(tiny_recipe, tmp_path / "two", num_workers=2, resume=False)
    assert contents(tmp_path / "two") == contents(uninterrupted)


def test_a_killed_worker_is_replaced_and_its_shard_redone(
    uninterrupted: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    killed, lost, done = False, 0, []
    for event in render_shards(plan_shards(tiny_recipe), tiny_recipe, tmp_path / "out", num_workers=1):
        match event:
            case SceneDone() if not killed:
                worker = next(
                    p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())
                )
                worker.send_signal(signal.SIGKILL)
                killed = True
            case ShardLost(exit_code=code):
                lost += 1
                assert code == -signal.SIGKILL
            case ShardDone(task=task):
                done.append(task.number)
    assert lost == 1 and sorted(done) == [0, 1]
    for path in uninterrupted.glob("*.tar"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_stopped_run_keeps_finished_shards_and_resumes_to_the_same_bytes(
    uninterrupted: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def stop_in_the_second_shard(samples: int, rejects: int) -> None:
        if (out / "tiny_humans-000000.tar").exists() and (out / ".render" / "shard-000000.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_dataset(tiny_recipe, out, num_workers=1, resume=False, on_samples=stop_in_the_second_shard)
    assert sorted(p.name for p in out.iterdir()) == [".render", "tiny_humans-000000.tar"]
    finished = (out / "tiny_humans-000000.tar").stat().st_mtime_ns
    render_dataset(tiny_recipe, out, num_workers=1, resume=True)
    assert (out / "tiny_humans-000000.tar").stat().st_mtime_ns == finished
    assert contents(out) == contents(uninterrupted)


def test_a_remote_dataset_has_the_same_bytes_and_resumes(uninterrupted: Path, tiny_recipe: Recipe) -> None:
    url = f"memory://{uuid4()}/data"
    files = fsspec.filesystem("memory")

    def stop_in_the_second_shard(samples: int, rejects: int) -> None:
        if files.exists(f"{url}/.render/shard-000000.json"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_dataset(tiny_recipe, url, num_workers=1, resume=False, on_samples=stop_in_the_second_shard)
    assert count_finished(url, tiny_recipe) == (1, 2)
    with pytest.raises(UserError, match="go on with --resume"):
        render_dataset(tiny_recipe, url, num_workers=1, resume=False)
    render_dataset(tiny_recipe, url, num_workers=1, resume=True)
    written = {Path(name).name: files.cat_file(name) for name in files.ls(url, detail=False)}
    assert written == contents(uninterrupted)


@pytest.mark.slow
def test_kill_9_at_any_moment_ends_in_the_same_bytes(uninterrupted: Path, tmp_path: Path) -> None:
    """Twelve times the parent or a worker is killed at a moment of its own; then the run is finished."""
    moments = np.random.default_rng(0)
    command = [sys.executable, "-m", "synthgen", "render", "--recipe", "tiny_humans", "--count", "24", "--out"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*command, str(whole), "--workers", "2"], check=True, capture_output=True)
    for kill in range(12):
        resume = ["--resume"] if broken.exists() else []
        run = subprocess.Popen(
            [*command, str(broken), "--workers", str(1 + kill % 3), *resume],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(0.5, 8))
        workers = psutil.Process(run.pid).children() if run.poll() is None else []
        if kill % 2 and workers:
            workers[kill % len(workers)].kill()
            time.sleep(1)
        run.kill()
        run.wait()
        psutil.wait_procs(workers, timeout=20)
    subprocess.run([*command, str(broken), "--resume"], check=True, capture_output=True)
    assert contents(broken) == contents(whole)


def test_resuming_a_finished_dataset_does_nothing(uninterrupted: Path, tiny_recipe: Recipe) -> None:
    before = contents(uninterrupted)
    messages: list[str] = []
    render_dataset(tiny_recipe, uninterrupted, 1, resume=True, on_message=messages.append)
    assert contents(uninterrupted) == before and "complete already" in messages[0]


def test_a_folder_with_something_else_is_refused(tmp_path: Path, tiny_recipe: Recipe) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(UserError, match="choose another --out"):
            render_dataset(tiny_recipe, tmp_path, 1, resume)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_resuming_with_another_recipe_or_count_is_refused(tmp_path: Path, tiny_recipe: Recipe) -> None:
    (tmp_path / ".render").mkdir()
    (tmp_path / ".render" / "plan.json").write_text(json.dumps({"recipe_hash": tiny_recipe.hash, "count": 99}))
    with pytest.raises(UserError, match="begun with another count"):
        render_dataset(tiny_recipe, tmp_path, 1, resume=True)
    (tmp_path / ".render" / "plan.json").write_text(json.dumps({"recipe_hash": "0", "count": 99}))
    with pytest.raises(UserError, match="begun with another recipe or seed"):
        render_dataset(tiny_recipe, tmp_path, 1, resume=True)


def test_a_scene_that_can_never_be_kept_is_one_clear_line_and_nothing_half_written(tmp_path: Path) -> None:
    impossible = load_recipe("tiny_humans", ("limits.visible_px=999999",))
    with pytest.raises(UserError, match=r"scene \d+ was rejected 50 times \(.*too_small\); loosen `limits`"):
        render_dataset(impossible, tmp_path / "out", 1, resume=False)
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".render"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="needs root to mount a tiny disk")
def test_a_full_disk_is_one_clear_line_and_finished_shards_stay(tmp_path: Path, tiny_recipe: Recipe) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], check=False).returncode != 0:
        pytest.skip("this system lets nobody mount a tmpfs")
    try:
        with pytest.raises(UserError, match="No space left on device"):
            render_dataset(tiny_recipe, disk / "out", 1, resume=False)
        assert not list((disk / "out").glob(".*.tmp"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from synthgen.generate import render_dataset\n"
        "from synthgen.recipe import load_recipe\n"
        "if __name__ == '__main__':\n"
        f"    render_dataset(load_recipe('tiny_humans', ('count=400',)), Path({str(tmp_path / 'out')!r}), 1, False)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)])
    children = wait_for(lambda: psutil.Process(parent.pid).children(recursive=True))
    wait_for(lambda: list((tmp_path / "out").glob(".*.tmp")) or list((tmp_path / "out").glob("*.tar")))
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


@pytest.mark.blender
def test_a_process_with_blender_can_have_workers_with_blender(tmp_path: Path) -> None:
    """bpy puts a folder with another, hollow bpy on the search path, which spawned processes inherit."""
    script = tmp_path / "run.py"
    script.write_text(
        "from pathlib import Path\n"
        "from synthgen.generate import render_dataset\n"
        "from synthgen.recipe import load_recipe\n"
        "import bpy\n"
        "if __name__ == '__main__':\n"
        "    recipe = load_recipe('tiny_humans', ('engine.name=cycles', 'engine.samples=1', 'count=2'))\n"
        f"    print(render_dataset(recipe, Path({str(tmp_path / 'out')!r}), 1, False).num_samples)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.split()[-1] == "2", done.stderr


def wait_for(condition, seconds: float = 60):
    """The first true value of a condition. Fails after that many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail("the condition did not come true in time")
