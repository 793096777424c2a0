"""The mean teacher: its student's view is undone exactly, its gate filters, its teacher is the running mean."""

import math

import pytest
import torch

from posecore.errors import UserError
from tests.trainer.training.small_runs import config, train
from trainer.config import TeacherConfig, load_config
from trainer.training import mean_teacher
from trainer.training.checkpoint import open_checkpoint
from trainer.training.logs import read_metrics
from trainer.training.mean_teacher import trusted
from trainer.training.strong_view import strong_view

STILL = TeacherConfig(turn_deg=0, scale=(1, 1), shift=0, colour=0, noise=0, cutouts=0)


def dots(places, size=64):
    """[B, 3, size, size] a bright dot on black at each of [B, 2]."""
    at = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    x, y = at[None, None, :] - places[:, 0, None, None], at[None, :, None] - places[:, 1, None, None]
    return torch.exp(-(x**2 + y**2) / (2 * 0.05**2))[:, None].expand(-1, 3, -1, -1)


def centroids(images):
    """[B, 2] normalised places of the dots."""
    size = images.shape[-1]
    at = (2.0 * torch.arange(size) + 1.0) / size - 1.0
    mass = images.mean(1)
    total = mass.sum((1, 2))
    return torch.stack([(mass.sum(1) * at).sum(1) / total, (mass.sum(2) * at).sum(1) / total], -1)


def test_joints_found_in_the_strong_view_are_taken_back_to_where_they_are():
    torch.manual_seed(0)
    places = 0.4 * (torch.rand(30, 2) - 0.5)
    settings = TeacherConfig(turn_deg=40, scale=(0.8, 1.3), shift=0.1, colour=0, noise=0, cutouts=0)
    view = strong_view(dots(places), settings)
    found = centroids(view.images)
    assert (found - places).norm(dim=-1).mean() > 0.1, "the view is another one"
    torch.testing.assert_close(view.undone(found[:, None])[:, 0], places, atol=4e-3, rtol=0)
    torch.testing.assert_close(view.shown(places[:, None])[:, 0], found, atol=4e-3, rtol=0)


def test_a_view_without_change_is_the_picture():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 16)
    view = strong_view(images, STILL)
    torch.testing.assert_close(view.images, images, atol=1e-5, rtol=0)


def test_scale_enlarges_and_cutouts_hide():
    torch.manual_seed(0)
    larger = strong_view(dots(torch.zeros(1, 2)), STILL.model_copy(update={"scale": (2.0, 2.0)}))
    assert larger.images.sum() > 3 * dots(torch.zeros(1, 2)).sum()
    images = torch.rand(8, 3, 32, 32)
    hidden = strong_view(images, STILL.model_copy(update={"cutouts": 2, "cutout_size": 0.9})).images
    changed = ((hidden - images).abs().amax(1) > 1e-4).float().mean((1, 2))
    assert 0.02 < changed.mean() < 0.6


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
def test_the_gate_lets_its_share_pass_however_confident_the_teacher_is(share, level):
    """Also where all are equally sure: a gate at a fixed confidence would let all or none pass."""
    confidence = torch.full((8, 17), level)
    assert trusted(confidence, share).sum() == round(share * 8 * 17)
    confidence = level * torch.rand(8, 17, generator=torch.Generator().manual_seed(0))
    gate = trusted(confidence, share)
    assert gate.sum() == round(share * 8 * 17)
    if share < 1:
        assert confidence[gate > 0].min() >= confidence[gate == 0].max()


def test_the_teacher_is_the_running_mean_and_learns_from_nothing_itself(tmp_path, folders, monkeypatch):
    seen = []
    original = mean_teacher.strong_view

    def spied(images, settings):
        seen.append(images)
        return original(images, settings)

    monkeypatch.setattr(mean_teacher, "strong_view", spied)
    train(tmp_path / "run", folders, config("mean_teacher", "optimiser.ema_decay=0.5"))
    assert len(seen) == 6
    checkpoint = open_checkpoint(tmp_path / "run")
    mean, student = checkpoint.weights("ema"), checkpoint.weights("model")
    assert any(not torch.equal(mean[name], student[name]) for name in mean)
    terms = read_metrics(tmp_path / "run", "train")[-1]
    assert {"teacher", "teacher_reprojection", "skeleton_image", "joints_2d", "pose_head"} <= set(terms)
    assert not {"adversarial", "consistency", "pose_prior", "discriminator"} & set(terms)
    gauges = read_metrics(tmp_path / "run", "gauge")[-1]
    assert {"score", "forgetting_pct", "real_mirror_pct", "spread"} <= set(gauges) and gauges["least_trusted"] > 0


def test_it_sees_the_same_synthetic_and_real_samples_as_analysis_by_synthesis(tmp_path, folders):
    keys = []
    for stage in ("finetune", "mean_teacher"):
        train(tmp_path / stage, folders, config(stage, log_samples=True))
        keys.append((tmp_path / stage / "samples.jsonl").read_text())
    assert keys[0] == keys[1]
    own, other = load_config("mean_teacher"), load_config("finetune")
    assert own.images_per_step == other.images_per_step and own.schedule == other.schedule and own.data == other.data


def test_a_student_is_drawn_to_the_teacher_s_joints_in_the_teacher_s_view():
    torch.manual_seed(0)
    view = strong_view(torch.rand(1, 3, 32, 32), TeacherConfig(turn_deg=90, shift=0.2))
    target, found = torch.rand(1, 5, 2) - 0.5, (torch.rand(1, 5, 2) - 0.5).requires_grad_()
    (view.undone(found) - target).square().sum().backward()
    nearer = found - 0.1 * found.grad
    wanted = view.shown(target)
    assert ((nearer - wanted).norm(dim=-1) < (found - wanted).norm(dim=-1)).all()


def test_it_is_run_as_a_finetuning_and_refused_by_the_other_commands():
    from trainer import cli

    assert load_config("mean_teacher").command == "finetune"
    with pytest.raises(UserError, match="its stage is mean_teacher; run it with `trainer run finetune`"):
        cli.pretrain(config="mean_teacher", dry_run=True)


def test_confidence_below_the_gate_is_told(tmp_path, folders):
    train(tmp_path / "run", folders, config("mean_teacher", "teacher.trusted=0.1"))
    strict = read_metrics(tmp_path / "run", "gauge")[-1]["least_trusted"]
    train(tmp_path / "all", folders, config("mean_teacher", "teacher.trusted=1.0"))
    assert strict > read_metrics(tmp_path / "all", "gauge")[-1]["least_trusted"] > 0
    assert math.isfinite(strict)
