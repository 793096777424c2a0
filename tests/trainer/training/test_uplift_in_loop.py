"""The uplift end to end, apart, or not at all: what gradients reach, and what they do not."""

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from tests.trainer.training.small_runs import config, train
from trainer.config import load_config, with_networks_of
from trainer.models.pose_model import build_pose_model
from trainer.training import gauges
from trainer.training.checkpoint import load_model, open_checkpoint
from trainer.training.logs import read_metrics
from trainer.training.pretrain import blend_at
from trainer.training.stages import begin

H36M = load_skeleton("h36m17")
WAYS = {"end_to_end": (), "separate": (), "none": ("model.answer_blend=0",)}


def settings(way, stage="finetune"):
    return config(stage, f"model.uplift.in_loop={way}", *WAYS[way], blend_from=0.0, blend_until=0.0)


def reached(terms, model):
    """Networks that each term's gradient reaches."""
    owners = [(name.split(".")[0], p) for name, p in model.named_parameters() if p.requires_grad]
    found = {}
    for term, loss in terms.items():
        if not loss.requires_grad:
            continue
        gradients = torch.autograd.grad(loss, [p for _, p in owners], retain_graph=True, allow_unused=True)
        found[term] = {
            name for (name, _), g in zip(owners, gradients, strict=True) if g is not None and g.abs().max() > 0
        }
    return found


def first_step(way, folders):
    trainee, stage = begin(settings(way), folders, "cpu", None)
    stage.pictures_teach = True
    torch.manual_seed(0)
    # Heads whose last layer starts near 0 pass hardly any gradient on.
    torch.nn.init.normal_(trainee.plain.uplift.leave.weight, std=0.1)
    torch.nn.init.normal_(trainee.plain.encoder.paint.weight, std=0.1)
    return reached(stage.losses(0, 0.5).terms, trainee.plain)


def test_end_to_end_pictures_and_the_pose_prior_teach_uplift_pose_head_and_encoder(folders):
    found = first_step("end_to_end", folders)
    for term in ("perceptual", "consistency", "pose_prior"):
        assert {"encoder", "pose_head", "uplift"} <= found[term], term
    assert {"encoder", "pose_head", "uplift"} <= found["joints_3d"]


def test_apart_the_uplift_learns_from_labels_alone_and_teaches_nobody(folders):
    found = first_step("separate", folders)
    assert not {"pose_prior", "real_bones", "joint_limits", "real_reprojection"} & set(found)
    for term in ("joints_3d", "rotations", "reprojection", "bones"):
        assert found[term] == {"uplift"}, term
    for term in ("perceptual", "consistency"):
        assert "uplift" not in found[term] and {"encoder", "pose_head"} <= found[term], term


def test_without_it_no_loss_reaches_the_uplift_and_it_stays_as_it_was(tmp_path, folders):
    found = first_step("none", folders)
    assert not any("uplift" in networks for networks in found.values())
    assert not {"joints_3d", "rotations", "reprojection", "bones", "pose_prior"} & set(found)
    train(tmp_path / "pre", folders, config(steps=2))
    start = open_checkpoint(tmp_path / "pre")
    train(tmp_path / "run", folders, settings("none"), init=start)
    before, after = start.weights("ema"), open_checkpoint(tmp_path / "run").weights("model")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("uplift.")} <= same
    assert not any(name.startswith("pose_head.heat") for name in same)


@pytest.mark.parametrize("way", ["separate", "none"])
def test_pictures_see_the_pose_head_s_joints(way):
    assert all(blend_at(progress, settings(way)) == 0.0 for progress in (0.0, 0.5, 1.0))
    assert blend_at(0.5, settings("end_to_end")) == 1.0


@pytest.mark.parametrize("way", WAYS)
def test_the_estimate_is_the_same_whichever_way_it_was_trained(way):
    base = settings("end_to_end").model
    torch.manual_seed(0)
    weights = build_pose_model(base, H36M, 32, pretrained=False).state_dict()
    images, outputs = torch.rand(2, 3, 32, 32), []
    for model_settings in (base, settings(way).model):
        model = build_pose_model(model_settings, H36M, 32, pretrained=False).eval()
        model.load_state_dict(weights)
        outputs.append(model(images, 0.5))
    assert torch.equal(outputs[0].joints, outputs[1].joints)


def test_an_answer_that_does_not_learn_is_refused():
    with pytest.raises(UserError, match=r"set model\.answer_blend=0"):
        load_config("finetune", ("model.uplift.in_loop=none",))


def test_a_finetuning_chooses_its_own_way(tmp_path, folders, monkeypatch):
    chosen = load_config("finetune", ("model.uplift.in_loop=separate",))
    assert with_networks_of(chosen, load_config("small")).model.uplift.in_loop == "separate"
    assert with_networks_of(chosen, load_config("small")).model.uplift.width == 256
    monkeypatch.setattr(gauges, "leakage", lambda *arguments: {"right": 1.0, "shuffled": 1.5, "blank": 1.5})
    train(tmp_path / "run", folders, settings("separate"))
    assert "adversarial" in read_metrics(tmp_path / "run", "train")[-1]
    assert not load_model(tmp_path / "run").model.uplift_teaches
