"""Configurations: strict, and every packaged one is sound."""

import pytest
import yaml

from posecore.errors import UserError
from posecore.resources import resource_dir
from posecore.skeleton import load_skeleton
from trainer.config import TrainConfig, dump_config, load_config, override_config, with_networks_of
from trainer.models.pose_model import build_pose_model

PACKAGED = sorted(path.stem for path in (resource_dir("recipes") / "train").glob("*.yaml"))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_configuration_builds_its_model(name):
    config = load_config(name)
    skeleton = load_skeleton(config.skeleton)
    model = build_pose_model(config.model, skeleton, config.data.input_size_px, pretrained=False)
    assert model.draw.num_channels == config.model.skeleton_image.channels


@pytest.mark.parametrize("name", PACKAGED)
def test_dumped_configuration_reads_back_the_same(name):
    config = load_config(name)
    assert TrainConfig.model_validate(yaml.safe_load(dump_config(config))) == config


def test_unknown_key_names_its_path_and_the_nearest_valid_one():
    with pytest.raises(UserError, match=r"schedule\.step: unknown key; did you mean steps\?"):
        load_config("pretrain", ("schedule.step=5",))


def test_unknown_name_suggests_a_packaged_one():
    with pytest.raises(UserError, match="did you mean pretrain"):
        load_config("pretrian")


def test_supervision_may_not_fade_to_nothing():
    with pytest.raises(UserError, match="must stay above 0"):
        load_config("finetune", ("losses.synthetic=[1.0, 0.0]",))


def test_override_changes_one_field_only():
    config = load_config("pretrain")
    changed = override_config(config, ("schedule.steps=7",))
    assert changed.schedule.steps == 7
    assert override_config(changed, (f"schedule.steps={config.schedule.steps}",)) == config


def test_pretraining_goes_on_from_a_smaller_task_with_its_networks_and_with_pictures_of_its_own_size():
    small, large = load_config("small"), load_config("pretrain")
    config = with_networks_of(large, small)
    assert config.data.input_size_px == 128 and config.model.skeleton_image.size == 64
    assert config.model.encoder == small.model.encoder
    skeleton = load_skeleton(config.skeleton)
    before = build_pose_model(small.model, skeleton, small.data.input_size_px, pretrained=False)
    build_pose_model(config.model, skeleton, config.data.input_size_px, pretrained=False).load_state_dict(
        before.state_dict()
    )


def test_finetuning_keeps_the_sizes_that_its_networks_were_trained_at():
    small = load_config("small")
    config = with_networks_of(load_config("finetune"), small)
    assert config.data.input_size_px == small.data.input_size_px
    assert config.model.skeleton_image == small.model.skeleton_image


def test_configurations_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_config("pretrain").seed = 1
