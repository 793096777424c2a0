"""Checkpoints: whole or refused, and every refusal is one line."""

import json

import pytest
import torch

from posecore.errors import UserError
from trainer.config import TrainConfig
from trainer.training.checkpoint import (
    load_model,
    load_strictly,
    open_checkpoint,
    save_checkpoint,
)


def tiny_config():
    return TrainConfig.model_validate({"stage": "pretrain", "schedule": {"steps": 10}})


def save(run, step, value=1.0, is_best=False, keep=2):
    weights = {"model": {"w": torch.full((2, 3), value)}}
    optimisers = {"encoder": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}}
    return save_checkpoint(run, step, tiny_config(), weights, optimisers, {"note": "x"}, keep, is_best)


def test_what_is_saved_is_loaded(tmp_path):
    save(tmp_path, 12)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.step == 12 and checkpoint.config == tiny_config()
    torch.testing.assert_close(checkpoint.weights("model")["w"], torch.ones(2, 3))
    assert checkpoint.optimisers()["encoder"]["param_groups"][0]["lr"] == 0.1
    assert checkpoint.state() == {"note": "x", "step": 12}


def test_pointers_follow_and_old_checkpoints_go_but_the_best_stays(tmp_path):
    save(tmp_path, 1, is_best=True)
    for step in (2, 3, 4):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.glob("step_*")) == ["step_000001", "step_000003", "step_000004"]
    assert open_checkpoint(tmp_path).step == 4
    assert open_checkpoint(tmp_path, "best").step == 1
    assert open_checkpoint(tmp_path / "step_000003").step == 3


def test_nothing_half_written_is_left(tmp_path):
    save(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_channels_last_weights_survive(tmp_path):
    weights = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path, 1, tiny_config(), {"model": {"w": weights}}, {}, {}, keep=1)
    torch.testing.assert_close(open_checkpoint(tmp_path).weights("model")["w"], weights)


@pytest.mark.parametrize("name", ["model.safetensors", "optim.pt", "state.json", "config.yaml"])
def test_a_changed_byte_is_noticed(tmp_path, name):
    path = save(tmp_path, 1) / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: damaged"):
        open_checkpoint(tmp_path)


def test_missing_things_are_named_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no checkpoint"):
        open_checkpoint(tmp_path)
    (save(tmp_path, 1) / "optim.pt").unlink()
    with pytest.raises(UserError, match=r"optim\.pt: missing"):
        open_checkpoint(tmp_path)


def test_a_truncated_manifest_is_one_line(tmp_path):
    path = save(tmp_path, 1) / "manifest.json"
    path.write_text(path.read_text()[:20])
    with pytest.raises(UserError, match="cannot be trusted"):
        open_checkpoint(tmp_path)


def test_pickled_code_in_the_optimiser_file_is_refused(tmp_path):
    folder = save(tmp_path, 1)
    torch.save({"evil": pytest.Item}, folder / "optim.pt")
    with pytest.raises(UserError, match="damaged"):
        open_checkpoint(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["optim.pt"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        open_checkpoint(tmp_path).optimisers()


def test_strict_load_names_what_does_not_match():
    module = torch.nn.Linear(3, 2)
    with pytest.raises(UserError, match=r"missing bias.*unknown extra.*weight is \(2, 4\), not \(2, 3\)"):
        load_strictly(module, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, "x.safetensors")


def test_a_model_of_other_weights_is_refused(tmp_path):
    save_checkpoint(tmp_path, 1, tiny_config(), {"ema": {"w": torch.zeros(1)}}, {}, {}, keep=1)
    with pytest.raises(UserError, match="does not fit this model"):
        load_model(tmp_path)
