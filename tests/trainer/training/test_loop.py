"""The loop and both stages on a few painted people: learning, exact resume, stops, guards."""

import json

import numpy as np
import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from tests.trainer.training.small_runs import config, losses_by_step, train
from trainer.config import with_networks_of
from trainer.models.channels import channel_of_edges
from trainer.models.skeleton_image import SkeletonImage
from trainer.prediction.torch_network import TorchNetwork
from trainer.training import adversaries, finetune, gauges, pretrain
from trainer.training.body_statistics import JointLimits
from trainer.training.checkpoint import load_model, open_checkpoint
from trainer.training.drawings import spoilt_drawings, vary_poses
from trainer.training.finetune import Finetune
from trainer.training.folders import Folders
from trainer.training.logs import read_metrics
from trainer.training.mean_teacher import MeanTeacher
from trainer.training.pretrain import Pretrain, blend_at
from trainer.training.stages import begin
from trainer.training.step import rate_factor


@pytest.mark.parametrize("stage", [Pretrain, Finetune, MeanTeacher])
def test_a_resumed_run_repeats_the_uninterrupted_one_step_by_step(tmp_path, folders, stop_after, monkeypatch, stage):
    # Pictures teach and the discriminators play from the first gauge on: their state must come back too.
    monkeypatch.setattr(gauges, "leakage", lambda *arguments: {"right": 1.0, "shuffled": 1.5, "blank": 1.5})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    name = {Pretrain: "pretrain", Finetune: "finetune", MeanTeacher: "mean_teacher"}[stage]
    settings = config(name, "losses.smoothness=1.0", "losses.joint_limits=1.0")
    train(whole, folders, settings)
    restore = stop_after(stage, 4)
    assert not train(broken, folders, settings)
    restore()
    assert open_checkpoint(broken).step == 6
    assert train(broken, folders, None, resume=True)
    assert losses_by_step(broken) == losses_by_step(whole)
    gauged = [[entry for entry in read_metrics(run, "gauge") if entry.pop("seconds")] for run in (broken, whole)]
    assert gauged[0] == gauged[1]
    ours, theirs = (open_checkpoint(run).weights("ema") for run in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_leaves_weights_numbers_and_pictures(tmp_path, folders):
    run = tmp_path / "run"
    train(run, folders, config())
    loaded = load_model(run)
    assert loaded.step == 8 and loaded.skeleton.name == "h36m17"
    output = loaded.model(torch.rand(2, 3, 32, 32), blend=0.5)
    assert output.joints.isfinite().all() and not output.joints.requires_grad
    gauges = read_metrics(run, "gauge")
    assert {"error_pct", "mean_pose_pct", "right", "shuffled", "blank"} <= set(gauges[-1])
    assert (run / "pictures" / "step_000008.png").is_file()
    assert open_checkpoint(run, "best").folder.is_dir()


def test_finetuning_starts_from_pretrained_weights_and_tells_forgetting_and_leakage(tmp_path, folders):
    train(tmp_path / "pre", folders, config(steps=2))
    start = open_checkpoint(tmp_path / "pre")
    train(tmp_path / "ft", folders, config("finetune"), init=start)
    gauges = read_metrics(tmp_path / "ft", "gauge")
    assert gauges[0]["forgetting_pct"] == 0
    assert {"real_right", "real_shuffled", "real_blank", "adversarial_weight"} <= set(gauges[-1])
    terms = read_metrics(tmp_path / "ft", "train")[-1]
    assert {"perceptual", "skeleton_image", "joints_2d", "pose_head"} <= set(terms)


def test_pictures_teach_nothing_before_the_renderer_heeds_the_pose(tmp_path, folders):
    """Nor does anything else that real pictures have to say of poses: it would pull them towards any plausible one."""
    settings = config("finetune", leakage_margin=100.0)
    train(tmp_path / "run", folders, settings)
    assert all(entry["real_pictures_teach"] == 0 for entry in read_metrics(tmp_path / "run", "gauge"))
    of_real_poses = {"adversarial", "consistency", "pose_prior", "joint_limits", "real_reprojection", "real_bones"}
    assert not any(of_real_poses & set(entry) for entry in read_metrics(tmp_path / "run", "train"))


def test_once_pictures_teach_the_discriminator_plays_too(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(gauges, "leakage", lambda *arguments: {"right": 1.0, "shuffled": 1.5, "blank": 1.5})
    train(tmp_path / "run", folders, config("finetune"))
    last = read_metrics(tmp_path / "run", "train")[-1]
    assert {"adversarial", "discriminator", "consistency", "pose_prior", "real_reprojection"} <= set(last)
    assert read_metrics(tmp_path / "run", "gauge")[-1]["adversarial_weight"] > 0
    assert open_checkpoint(tmp_path / "run").weights("replay")


def test_a_loss_that_is_not_finite_stops_with_step_term_and_keys(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(pretrain, "bone_loss", lambda lengths: lengths.sum() * float("nan"))
    with pytest.raises(UserError, match=r"step 3: loss term bones is nan.*Batch: 0000"):
        train(tmp_path / "run", folders, config())


def nan_once(monkeypatch, at_call):
    """The bone loss is NaN the n-th time that it is asked for."""
    calls, original = [], pretrain.bone_loss

    def spoilt(lengths):
        calls.append(None)
        return lengths.sum() * float("nan") if len(calls) == at_call else original(lengths)

    monkeypatch.setattr(pretrain, "bone_loss", spoilt)


def test_a_rollback_goes_on_from_the_checkpoint_past_the_samples_that_led_there(tmp_path, folders, monkeypatch):
    options = {"checkpoint_every": 4, "gauge_every": 100, "on_nan": "rollback", "log_samples": True}
    train(tmp_path / "plain", folders, config(**options))
    nan_once(monkeypatch, 4)
    train(tmp_path / "run", folders, config(**options))
    assert open_checkpoint(tmp_path / "run").step == 8
    assert open_checkpoint(tmp_path / "run").state()["course"]["rollbacks"] == 1
    assert [entry["step"] for entry in read_metrics(tmp_path / "run", "train")] == list(range(1, 9))
    # Steps 5 and 6 were undone; what they had seen is not seen again.
    seen, seen_plainly = (
        [json.loads(line)["keys"] for line in (tmp_path / run / "samples.jsonl").read_text().splitlines()]
        for run in ("run", "plain")
    )
    assert seen[:4] == seen_plainly[:4]
    assert seen[4:6] == seen_plainly[6:8]


def test_rollbacks_end_in_a_stop(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(pretrain, "bone_loss", lambda lengths: lengths.sum() * float("nan"))
    with pytest.raises(UserError, match="rolled back 2 times before"):
        train(tmp_path / "run", folders, config(checkpoint_every=1, on_nan="rollback", max_rollbacks=2))


def test_without_a_checkpoint_there_is_nothing_to_roll_back_to(tmp_path, folders, monkeypatch):
    nan_once(monkeypatch, 1)
    with pytest.raises(UserError, match="none yet to roll back to"):
        train(tmp_path / "run", folders, config(on_nan="rollback"))


def test_patience_ends_a_run_that_gets_no_better(tmp_path, folders, monkeypatch):
    values = iter([5.0, 4.0, 4.5, 4.2, 3.0, 1.0])
    monkeypatch.setattr(gauges, "pose_gauges", lambda *arguments: {"error_pct": next(values)})
    train(tmp_path / "run", folders, config(steps=50, gauge_every=2, patience_gauges=2))
    # Gauges after joint steps 1, 2, 4, 6: the last two are no better than the second.
    assert open_checkpoint(tmp_path / "run").step == 2 + 6
    assert open_checkpoint(tmp_path / "run", "best").state()["course"]["best"] == 3.0


def test_gradient_norms_of_losses_combine_to_the_networks_gradient(tmp_path, folders):
    settings = config(gradient_norms_every=2)
    train(tmp_path / "run", folders, settings)
    lines = read_metrics(tmp_path / "run", "train")
    with_norms = [entry["step"] for entry in lines if "gradient/encoder/joints_2d" in entry]
    assert with_norms == [3, 5, 7]
    of_losses = [value for name, value in lines[2].items() if name.startswith("gradient/uplift/")]
    assert 0 < lines[2]["gradient/uplift"] <= sum(of_losses) * (1 + 1e-4)
    assert "gradient/image_renderer/joints_2d" not in lines[2]
    # Looking changes nothing.
    train(tmp_path / "plain", folders, config())
    plain = [
        {name: value for name, value in entry.items() if name.count("/") < 2}
        for entry in losses_by_step(tmp_path / "run")
    ]
    assert plain == losses_by_step(tmp_path / "plain")


def test_bfloat16_trains_on_a_cpu(tmp_path, folders):
    settings = config(steps=3)
    half = settings.optimiser.model_copy(update={"precision": "bf16-mixed"})
    train(tmp_path / "run", folders, settings.model_copy(update={"optimiser": half}))
    train(tmp_path / "whole", folders, settings)
    ours, theirs = (read_metrics(tmp_path / run, "train")[0]["total"] for run in ("run", "whole"))
    assert ours == pytest.approx(theirs, rel=0.1)
    assert all(tensor.dtype == torch.float32 for tensor in open_checkpoint(tmp_path / "run").weights("model").values()
               if tensor.is_floating_point())  # fmt: skip


def test_damaged_shards_are_skipped_when_asked_and_told_in_the_end(tmp_path, folders, painted_dataset, capsys):
    folder = painted_dataset(scenes=6, shards=3)
    shard = folder / "test-000001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    settings = config(steps=2)
    data = settings.data.model_copy(update={"skip_damaged": True})
    train(tmp_path / "run", Folders(str(folder)), settings.model_copy(update={"data": data}))
    assert read_metrics(tmp_path / "run", "train")[-1]["damaged_shards"] == 1
    assert "skipped all through the run: " in capsys.readouterr().out


def test_a_time_limit_ends_the_run_with_a_checkpoint(tmp_path, folders):
    train(tmp_path / "run", folders, config(steps=100000, max_minutes=0.05))
    assert 2 < open_checkpoint(tmp_path / "run").step < 1000


def test_accumulated_batches_make_one_step(tmp_path, folders):
    settings = config(steps=2)
    settings = settings.model_copy(update={"optimiser": settings.optimiser.model_copy(update={"accumulate": 2})})
    train(tmp_path / "run", folders, settings)
    assert open_checkpoint(tmp_path / "run").step == 4


def test_learning_rate_warms_up_and_falls_to_its_last_fraction():
    settings = config(steps=1000)
    rate = [rate_factor(settings, 2 + s, s, s / 1000) for s in (0, 99, 500, 1000)]
    np.testing.assert_allclose(rate, [0.01, 0.05 + 0.475 * (1 + np.cos(0.099 * np.pi)), 0.525, 0.05], atol=1e-9)


def test_blend_rises_from_pose_head_to_reprojection():
    settings = config()
    assert [blend_at(p, settings) for p in (0.0, 0.3, 0.55, 0.8, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert blend_at(0.0, config(blend_from=0.0, blend_until=0.0)) == 1.0


def test_leakage_of_a_renderer_that_ignores_the_pose_is_the_same_for_any_pose(folders):
    from trainer.data.streams import load_evaluation_set
    from trainer.models.features import Features
    from trainer.models.pose_model import build_pose_model

    settings, skeleton = config(), load_skeleton("h36m17")
    model = build_pose_model(settings.model, skeleton, 32, pretrained=False).eval()
    for parameter in model.image_renderer.pose.parameters():
        parameter.data.zero_()
    batches = load_evaluation_set(folders.real, skeleton, 32, max_samples=8)
    errors = gauges.leakage(model, Features(num_levels=1), batches, 0.5, torch.device("cpu"))
    assert errors["right"] == pytest.approx(errors["shuffled"]) == pytest.approx(errors["blank"])


def test_spoilt_drawings_keep_their_range_and_some_stay_whole():
    torch.manual_seed(0)
    skeleton = load_skeleton("h36m17")
    joints = vary_poses(torch.rand(60, 17, 2) - 0.5, skeleton)
    draw = SkeletonImage(skeleton.edges, skeleton.edge_groups(5), 16, 8.0)
    spoilt = spoilt_drawings(joints, draw, skeleton)
    changed = (spoilt - draw.centred(joints)).abs().amax((1, 2, 3))
    assert 0.15 < (changed == 0).float().mean() < 0.5
    assert spoilt.isfinite().all() and spoilt.abs().max() < 2.5


NEW_TERMS = ("pose_prior", "joint_limits", "smoothness")


def every_term(*overrides, **schedule):
    return config("finetune", *(f"losses.{name}=1.0" for name in NEW_TERMS), *overrides, **schedule)


def test_terms_of_weight_zero_are_not_there_and_cost_no_pictures_nor_networks(tmp_path, folders):
    train(tmp_path / "on", folders, every_term(steps=2))
    assert {*NEW_TERMS, "pose_discriminator"} <= set(read_metrics(tmp_path / "on", "train")[-1])
    off = config("finetune", *(f"losses.{name}=0" for name in NEW_TERMS), "losses.adversarial_ratio=0", steps=2)
    trainee, stage = begin(off, folders, "cpu", None)
    assert trainee.discriminators == {} and stage.limits is None
    assert next(stage.streams["real"]).neighbours is None
    assert stage.held_out_real[0].neighbours is None
    losses = stage.losses(0, 0.0)
    assert not {*NEW_TERMS, "adversarial"} & set(losses.terms)
    assert stage.discriminator_losses(0) == {}


@pytest.mark.parametrize(
    "name, term", [("joint_limit_loss", "joint_limits"), ("smoothness_loss", "smoothness"), ("bone_loss", "real_bones")]
)
def test_the_nan_guard_watches_the_terms_of_real_pictures(tmp_path, folders, monkeypatch, name, term):
    monkeypatch.setattr(finetune, name, lambda first, *others: first.sum() * float("nan"))
    with pytest.raises(UserError, match=rf"step 3: loss term {term} is nan.*Batch: 00"):
        train(tmp_path / "run", folders, every_term())


@pytest.mark.parametrize("name, term", [("generator_loss", "pose_prior"), ("discriminator_loss", "pose_discriminator")])
def test_the_nan_guard_watches_both_sides_of_the_contest_of_poses(tmp_path, folders, monkeypatch, name, term):
    monkeypatch.setattr(adversaries, name, lambda scores, *others: scores[0].sum() * float("nan"))
    with pytest.raises(UserError, match=rf"step 3: loss term {term} is nan.*Batch: 00"):
        train(tmp_path / "run", folders, every_term("losses.adversarial_ratio=0"))


def test_a_rollback_brings_the_contests_back_too(tmp_path, folders, monkeypatch):
    calls, original = [], finetune.joint_limit_loss

    def nan_once(rotations, limits):
        calls.append(None)
        return rotations.sum() * float("nan") if len(calls) == 4 else original(rotations, limits)

    monkeypatch.setattr(finetune, "joint_limit_loss", nan_once)
    train(tmp_path / "run", folders, every_term(checkpoint_every=2, on_nan="rollback"))
    state = open_checkpoint(tmp_path / "run").state()
    # Six steps of 4 real pictures each.
    assert state["course"]["rollbacks"] == 1 and state["ranks"][0]["drawing_contest"]["num_seen"] == 6 * 4


def test_strips_show_the_side_view_and_mark_joints_beyond_their_limits(folders):
    trainee, stage = begin(every_term(), folders, "cpu", None)
    trainee.ema.eval()
    plain = stage.picture(trainee.ema.module, 0.0)
    assert plain.shape == (6 * 128, 6 * 128, 3) and plain[:, 5 * 128 :].max() > 100
    stage.limits = JointLimits(stage.limits.low + 2.0, stage.limits.high + 2.0, stage.limits.parents)
    marked = stage.picture(trainee.ema.module, 0.0)
    assert np.array_equal(plain[:, : 5 * 128], marked[:, : 5 * 128])
    assert not np.array_equal(plain[:, 5 * 128 :], marked[:, 5 * 128 :])


def test_a_finetuning_on_dealt_channels_records_the_deal_resumes_and_predicts(tmp_path, folders, stop_after):
    deal = ("model.skeleton_image.grouping=random", "model.skeleton_image.grouping_seed=5")
    train(tmp_path / "pre", folders, config("pretrain", *deal, steps=2))
    start = open_checkpoint(tmp_path / "pre")
    settings = with_networks_of(config("finetune"), start.config)
    train(tmp_path / "whole", folders, settings, init=start)
    restore = stop_after(Finetune, 4)
    train(tmp_path / "broken", folders, settings, init=start)
    restore()
    train(tmp_path / "broken", folders, None, resume=True)
    assert losses_by_step(tmp_path / "broken") == losses_by_step(tmp_path / "whole")
    loaded = load_model(tmp_path / "broken")
    groups = channel_of_edges(settings.model.skeleton_image, loaded.skeleton)
    assert loaded.model.draw.groups == groups != loaded.skeleton.edge_groups(3)
    assert TorchNetwork(tmp_path / "broken", "cpu")(np.zeros((1, 32, 32, 3), np.uint8)).keypoints.shape == (1, 17, 3)
