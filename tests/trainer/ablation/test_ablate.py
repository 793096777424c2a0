"""A whole ablation with real processes: trained once, judged, compared; a failed variant is told and left out."""

import json

import torch
import yaml
from typer.testing import CliRunner

from trainer.ablation.ablate import run_ablation
from trainer.cli import app
from trainer.training.checkpoint import open_checkpoint
from trainer.training.folders import Folders
from trainer.training.selftest import SMALL_NETWORKS

QUICK = (*SMALL_NETWORKS, "schedule.steps=3", "schedule.pose_head_steps=2", "schedule.gauge_every=100")


def test_an_ablation_trains_each_run_once_and_compares_what_came_through(tmp_path, painted_dataset):
    grid = tmp_path / "grid.yaml"
    content = {
        "version": 1,
        "question": "Does the rate matter?",
        "stages": [{"config": "pretrain"}],
        "variants": {"slow": {}, "fast": {"set": {"optimiser.learning_rate": 0.01}}},
        "baseline": "slow",
    }
    grid.write_text(yaml.safe_dump(content, sort_keys=False))
    data, said = str(painted_dataset()), []

    def ablate():
        said.clear()
        folders = Folders(synthetic=data)
        return run_ablation(str(grid), folders, [data], tmp_path / "out", 1, 2, QUICK, None, False, "cpu", said.append)

    assert ablate()
    assert sum(line.endswith("is trained") for line in said) == 2
    record = json.loads((tmp_path / "out" / "grid.json").read_text())
    assert record["tests"][data]["num_subjects"] == 12 and record["budgets"]["fast"][0]["steps"] == 3
    comparison = record["tests"][data]["comparison"]
    assert comparison["slow"]["error_pct"] != comparison["fast"]["error_pct"]
    assert "| fast |" in (tmp_path / "out" / "grid.md").read_text()

    # A third variant cannot be trained; the first two are not trained again.
    content["variants"]["impossible"] = {"set": {"data.background_folder": str(tmp_path / "nowhere")}}
    grid.write_text(yaml.safe_dump(content, sort_keys=False))
    assert not ablate()
    assert not any(line.endswith("is trained") for line in said)
    assert any("(impossible) failed" in line and "nowhere" in line for line in said)
    record = json.loads((tmp_path / "out" / "grid.json").read_text())
    assert set(record["tests"][data]["comparison"]) == {"slow", "fast"} and len(record["failed"]) == 1


def test_runs_of_a_grid_may_start_from_a_trained_run(tmp_path, painted_dataset):
    """Too slow to learn anything, the later run has the weights of the one that it starts from."""
    data, said = str(painted_dataset()), []
    content = {
        "version": 1,
        "question": "Does the rate matter?",
        "stages": [{"config": "pretrain"}],
        "baseline": "slow",
    }
    for name, rate in (("first", 1e-3), ("second", 1e-12)):
        rates = {"slow": {"set": {"optimiser.learning_rate": rate}}, "fast": {"set": {"optimiser.learning_rate": 0.01}}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content | {"variants": rates}, sort_keys=False))
    first, second, out = str(tmp_path / "first.yaml"), str(tmp_path / "second.yaml"), tmp_path / "out"
    folders = Folders(synthetic=data)
    assert run_ablation(first, folders, [data], out, 1, 1, QUICK, None, False, "cpu", said.append)
    trained = out / "runs" / json.loads((out / "first.json").read_text())["budgets"]["slow"][0]["run"]
    options = ["--data", data, "--test", data, "--out", str(out), "--seeds", "1", "--init", str(trained)]
    settings = [word for override in QUICK for word in ("--set", override)]
    answer = CliRunner().invoke(app, ["ablate", second, *options, *settings])
    assert answer.exit_code == 0, answer.output
    later = out / "runs" / json.loads((out / "second.json").read_text())["budgets"]["slow"][0]["run"]
    before, after = (open_checkpoint(run).weights("ema")["encoder.paint.weight"] for run in (trained, later))
    assert later != trained
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
