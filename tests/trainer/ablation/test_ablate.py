"""A whole ablation with real processes: trained once, judged, compared; a failed variant is told and left out."""

import json

import yaml

from trainer.ablation.ablate import RESULT, TABLE, run_ablation
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
        return run_ablation(str(grid), folders, [data], tmp_path / "out", 1, 2, QUICK, False, "cpu", said.append)

    assert ablate()
    assert sum(line.endswith("is trained") for line in said) == 2
    record = json.loads((tmp_path / "out" / RESULT).read_text())
    assert record["tests"][data]["num_subjects"] == 12 and record["budgets"]["fast"][0]["steps"] == 3
    comparison = record["tests"][data]["comparison"]
    assert comparison["slow"]["error_pct"] != comparison["fast"]["error_pct"]
    assert "| fast |" in (tmp_path / "out" / TABLE).read_text()

    # A third variant cannot be trained; the first two are not trained again.
    content["variants"]["impossible"] = {"set": {"data.background_folder": str(tmp_path / "nowhere")}}
    grid.write_text(yaml.safe_dump(content, sort_keys=False))
    assert not ablate()
    assert not any(line.endswith("is trained") for line in said)
    assert any("impossible-pretrain-seed0" in line and "nowhere" in line for line in said)
    record = json.loads((tmp_path / "out" / RESULT).read_text())
    assert set(record["tests"][data]["comparison"]) == {"slow", "fast"} and len(record["failed"]) == 1
