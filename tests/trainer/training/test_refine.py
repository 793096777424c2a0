"""Refinement on one subject's clips: what may change, what is held, and what it says of itself."""

import pytest
import torch

from posecore.skeleton import load_skeleton
from tests.trainer.training.small_runs import config, losses_by_step, train
from trainer.config import load_config
from trainer.models.uplift import Uplift
from trainer.training.checkpoint import load_model, open_checkpoint
from trainer.training.folders import Folders
from trainer.training.logs import read_metrics
from trainer.training.refine import Refine

H36M = load_skeleton("h36m17")


@pytest.fixture(scope="module")
def start(tmp_path_factory, folders):
    run = tmp_path_factory.mktemp("refine") / "pre"
    train(run, folders, config(steps=2))
    return open_checkpoint(run)


def settings(*overrides, **schedule):
    return config("refine", "losses.smoothness=0.1", *overrides, pose_head_steps=0, **schedule)


def test_encoder_renderer_and_bone_lengths_change_and_nothing_else(tmp_path, folders, start):
    train(tmp_path / "run", Folders(real=folders.real), settings(), init=start)
    before, after = start.weights("ema"), open_checkpoint(tmp_path / "run").weights("model")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"encoder", "image_renderer", "uplift"}
    assert {name for name in changed if name.startswith("uplift")} == {"uplift.leave.bias"}
    moved = (before["uplift.leave.bias"] != after["uplift.leave.bias"]).nonzero().flatten()
    assert moved.min() >= 17 * 6 and moved.max() < 17 * 7


def test_free_lengths_change_the_bones_of_all_poses_alike():
    torch.manual_seed(0)
    uplift = Uplift(H36M, width=16, num_blocks=1)
    uplift.free_only_lengths()
    inputs = torch.randn(4, 17, 2), torch.rand(4, 17), torch.randn(4, 6)
    uplift(*inputs).lengths.sum().backward()
    before = uplift(*inputs)
    with torch.no_grad():
        uplift.leave.bias += uplift.leave.bias.grad
    after = uplift(*inputs)
    longer = after.lengths - before.lengths
    assert (longer > 0).all() and longer.std(0).max() < 0.02 * longer.min()
    assert torch.equal(after.rotations, before.rotations)


def test_it_resumes_exactly(tmp_path, folders, start, stop_after):
    clips = Folders(real=folders.real)
    train(tmp_path / "whole", clips, settings(), init=start)
    restore = stop_after(Refine, 3)
    train(tmp_path / "broken", clips, settings(), init=start)
    restore()
    train(tmp_path / "broken", clips, None, resume=True)
    assert losses_by_step(tmp_path / "broken") == losses_by_step(tmp_path / "whole")
    assert "smoothness" in losses_by_step(tmp_path / "whole")[-1]


def test_it_tells_before_and_after_and_the_drift_of_flips_on_labelled_frames(tmp_path, folders, start, capsys):
    train(tmp_path / "run", Folders(real=folders.real, held_out=folders.synthetic), settings(), init=start)
    first, *_, last = read_metrics(tmp_path / "run", "gauge")
    assert {"score", "before_score", "before_real_jitter_pct", "moved_pct", "swapped_sides", "flip_rate_drift"} <= set(
        last
    )
    assert first["before_score"] == last["before_score"]
    assert last["flip_rate_drift"] == pytest.approx(last["flip_rate"] - last["before_flip_rate"])
    assert "score" in capsys.readouterr().out.splitlines()[-2]
    assert list((tmp_path / "run" / "pictures").glob("*.png"))


@pytest.mark.parametrize("gain, told", [(-0.1, "the label-free score fell from"), (0.1, "NOT improved by its own")])
def test_it_says_plainly_whether_it_improved(tmp_path, folders, start, monkeypatch, capsys, gain, told):
    judged = []

    def judge(self, model):
        judged.append(model)
        return {"score": 1.0 if model is self.start else 1.0 + gain, "spread": 1.0, "variation": 1.0, "ink": 1.0}

    monkeypatch.setattr(Refine, "_judge", judge)
    monkeypatch.setattr(Refine, "collapse", lambda self, values: None)
    train(tmp_path / "run", Folders(real=folders.real), settings(), init=start)
    assert told in capsys.readouterr().out
    assert len(judged) > 2


def test_it_stops_on_a_plateau_of_its_score(tmp_path, folders, start, monkeypatch):
    monkeypatch.setattr(
        Refine, "_judge", lambda self, model: {"score": 1.0, "spread": 1.0, "variation": 1.0, "ink": 1.0}
    )
    monkeypatch.setattr(Refine, "collapse", lambda self, values: None)
    train(
        tmp_path / "run", Folders(real=folders.real), settings(steps=50, gauge_every=2, patience_gauges=3), init=start
    )
    assert open_checkpoint(tmp_path / "run").step == 6
    assert load_config("refine").schedule.patience_gauges


def test_the_anchor_holds_the_joints(tmp_path, folders, start):
    moved = []
    for weight in (0.0, 1000.0):
        run = tmp_path / f"anchor{weight}"
        overrides = (f"losses.anchor={weight}", "optimiser.learning_rate=0.01", "optimiser.ema_decay=0.0")
        train(run, Folders(real=folders.real), settings(*overrides, steps=12), init=start)
        moved.append(read_metrics(run, "gauge")[-1]["moved_pct"])
    assert moved[1] < 0.7 * moved[0]


def test_the_refined_run_is_one_that_predicts(tmp_path, folders, start):
    train(tmp_path / "run", Folders(real=folders.real), settings(steps=2), init=start)
    assert load_model(tmp_path / "run").model(torch.rand(1, 3, 32, 32), 0.5).joints.isfinite().all()
