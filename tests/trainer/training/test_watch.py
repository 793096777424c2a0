"""The label-free score and the signs of collapse; runs that collapse by force."""

import math
from dataclasses import replace

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from tests.trainer.training.small_runs import config, train
from trainer.training import watch
from trainer.training.checkpoint import open_checkpoint
from trainer.training.finetune import Finetune
from trainer.training.logs import read_metrics
from trainer.training.stages import begin
from trainer.training.watch import RealAnswers

H36M = load_skeleton("h36m17")
SWAP, MIRROR = list(H36M.swap), torch.tensor([-1.0, 1.0])


@pytest.fixture(scope="module")
def stage(folders):
    _, stage = begin(config("finetune", "losses.smoothness=1.0"), folders, "cpu", None)
    stage.trainee.ema.eval()
    return stage


def test_the_score_is_the_sum_of_its_parts_and_marks_the_best_checkpoint(tmp_path, folders):
    run = tmp_path / "run"
    train(run, folders, config("finetune"))
    gauges = read_metrics(run, "gauge")
    for values in gauges:
        parts = [values[f"score_{name}"] for name in ("reconstruction", "implausible", "sides")]
        assert values["score"] == pytest.approx(sum(parts)) and min(parts) >= 0
    assert open_checkpoint(run, "best").state()["course"]["best"] == pytest.approx(
        min(values["score"] for values in gauges), rel=1e-5
    )
    assert {"spread", "ink", "variation", "real_mirror_pct", "real_mirror_flip_rate", "real_partner"} <= set(gauges[-1])
    assert {"discriminator_on_drawings", "discriminator_on_real", "adversarial_gradient_ratio"} <= set(gauges[-1])


def test_the_score_reads_no_label_of_real_pictures_and_no_label_of_the_test(stage):
    assert all(batch.joints is None for batch in stage.held_out_real)
    blind = [replace(batch, joint_weight=batch.joint_weight * 0) for batch in stage.watch.held_out]
    whole, _ = stage.watch.gauge(stage.trainee.ema.module)
    stage.watch.held_out, kept = blind, stage.watch.held_out
    again, _ = stage.watch.gauge(stage.trainee.ema.module)
    stage.watch.held_out = kept
    assert again["score"] == whole["score"]


def test_handing_the_partner_through_reconstructs_no_better_than_one(stage, monkeypatch):
    from trainer.models.layers import resized

    model = stage.trainee.ema.module
    monkeypatch.setattr(
        type(model.image_renderer), "forward", lambda self, drawing, partners: resized(partners, self.size)
    )
    values, _ = stage.watch.gauge(model)
    assert values["score_reconstruction"] == pytest.approx(1.0)


def answers(joints, mirrored):
    nothing = torch.zeros(len(joints), 1, 1, 1)
    turns = torch.eye(3).expand(len(joints), 17, 3, 3)
    rest = torch.tensor(H36M.rest_m, dtype=torch.float32).expand(len(joints), -1, -1)
    return RealAnswers(joints, mirrored, nothing, rest, turns, 0.7, None)


def test_a_model_that_exchanges_sides_under_the_mirror_pays_and_is_told(stage):
    rest = torch.tensor(H36M.rest_m[:, [0, 2]], dtype=torch.float32)
    joints = (0.8 * (rest - rest[:1])).expand(5, -1, -1)
    alike, exchanged = answers(joints, joints), answers(joints, joints[:, SWAP])
    assert stage.watch._score(alike)["score_sides"] == 0
    assert stage.watch._score(exchanged)["score_sides"] > 0.2
    assert stage.watch._mirror(alike) == {"real_mirror_pct": 0.0, "real_mirror_flip_rate": 0.0}
    assert stage.watch._mirror(exchanged)["real_mirror_flip_rate"] == 1.0


def test_one_pose_for_all_pictures_has_no_spread_and_the_labels_own_has_one(stage):
    varied = torch.randn(20, 17, 2, generator=torch.Generator().manual_seed(0))
    drawings = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sound = watch._signs(varied, drawings)
    same = watch._signs(varied[:1].expand(20, -1, -1) + torch.tensor([0.3, 0.1]), drawings[:1].expand(20, -1, -1, -1))
    assert same["spread"] < 1e-3 < sound["spread"]
    assert same["variation"] == pytest.approx(0, abs=1e-6) and sound["variation"] > 0.1
    assert watch._signs(varied, torch.full((20, 3, 8, 8), -1.0))["ink"] == 0


def test_jitter_is_told_where_pictures_have_neighbours(stage):
    values, found = stage.watch.gauge(stage.trainee.ema.module)
    assert values["real_jitter_pct"] == pytest.approx(50 * found.jitter) and found.jitter > 0


def collapse_once(monkeypatch, at_call, how):
    """All pictures get one answer from the n-th step on, once."""
    original, calls = Finetune.losses, []

    def losses(self, step, progress):
        calls.append(step)
        if len(calls) == at_call:
            for model in (self.trainee.plain, self.trainee.ema.module):
                how(model)
        return original(self, step, progress)

    monkeypatch.setattr(Finetune, "losses", losses)


@torch.no_grad()
def one_pose(model):
    for layer in (model.pose_head.heat, model.encoder.facing.read[-1]):
        layer.weight.zero_()


@torch.no_grad()
def nothing_drawn(model):
    model.encoder.paint.weight.zero_()
    model.encoder.paint.bias.fill_(-1.0)


@pytest.mark.parametrize("how, told", [(one_pose, "poses hardly differ"), (nothing_drawn, "poses hardly|skeleton im")])
def test_a_run_that_collapses_stops_with_one_clear_line_and_keeps_its_best_checkpoint(
    tmp_path, folders, monkeypatch, how, told
):
    collapse_once(monkeypatch, 2, how)
    with pytest.raises(UserError, match=f"step 5: collapsed: ({told}).*the run stops, its best checkpoint stays"):
        train(tmp_path / "run", folders, config("finetune"))
    assert open_checkpoint(tmp_path / "run", "best").step == 3
    assert read_metrics(tmp_path / "run", "gauge")[-1]["step"] == 5


def test_a_run_that_collapses_rolls_back_behind_later_checkpoints_and_goes_on(tmp_path, folders, monkeypatch):
    collapse_once(monkeypatch, 2, one_pose)
    settings = config("finetune", on_collapse="rollback", checkpoint_every=1, log_samples=True)
    train(tmp_path / "run", folders, settings)
    last = open_checkpoint(tmp_path / "run")
    assert last.step == 8 and last.state()["course"]["rollbacks"] == 1
    assert [entry["step"] for entry in read_metrics(tmp_path / "run", "train")] == list(range(1, 9))
    assert all(math.isfinite(entry["spread"]) for entry in read_metrics(tmp_path / "run", "gauge"))


def test_a_collapse_that_comes_again_and_again_ends_the_run(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(watch.RealWatch, "collapse", lambda self, values: "by order" if values["score"] else None)
    with pytest.raises(UserError, match="by order; there is none yet to roll back to"):
        train(tmp_path / "run", folders, config("finetune", on_collapse="rollback"))
