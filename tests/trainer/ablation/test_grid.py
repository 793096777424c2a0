"""Grids and plans: strict, every packaged one is sound, and what two variants share is trained once."""

import pytest
import yaml

from posecore.errors import UserError
from posecore.resources import resource_dir
from trainer.ablation.grid import GRIDS, load_grid
from trainer.ablation.plan import levels, plan_entries
from trainer.training.folders import Folders

PACKAGED = sorted(path.stem for path in (resource_dir("recipes") / GRIDS).glob("*.yaml"))


@pytest.fixture
def write_grid(tmp_path):
    def write(**changes):
        content = {
            "version": 1,
            "question": "Does it matter?",
            "stages": [{"config": "small"}],
            "variants": {"as it is": {}, "wider": {"set": {"model.pose_head.width": 64}}},
            "baseline": "as it is",
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
        return str(path)

    return write


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_grids_resolve_to_different_configurations(name, painted_dataset, untrained_run):
    grid = load_grid(name)
    folders = Folders(synthetic=str(painted_dataset()), real=str(painted_dataset()))
    configs = [entry.run.config for entry in plan_entries(grid, folders, seeds=1, start=untrained_run)]
    assert len(configs) == len(grid.variants) == len({str(config) for config in configs})


def test_a_metric_that_nobody_measures_is_refused_before_anything_is_trained(write_grid):
    with pytest.raises(UserError, match="metrics: arm_flips not known; choose from error_pct"):
        load_grid(write_grid(metrics=["error_pct", "arm_flips"]))


def test_a_baseline_that_is_no_variant_is_refused(write_grid):
    with pytest.raises(UserError, match="baseline narrow is none of the variants as it is, wider"):
        load_grid(write_grid(baseline="narrow"))


def test_a_field_that_does_not_exist_is_told_before_anything_is_trained(write_grid, painted_dataset):
    grid = load_grid(write_grid(variants={"as it is": {}, "wider": {"set": {"model.pose_head.widht": 64}}}))
    with pytest.raises(UserError, match="did you mean width"):
        plan_entries(grid, Folders(synthetic=str(painted_dataset())), seeds=1)


def test_footage_that_a_later_stage_needs_is_asked_for_before_anything_is_trained(write_grid, painted_dataset):
    grid = load_grid(write_grid(stages=[{"config": "small"}, {"config": "demo_finetune"}]))
    with pytest.raises(UserError, match="as it is: its stage finetune needs real footage; give --real"):
        plan_entries(grid, Folders(synthetic=str(painted_dataset())), seeds=1)


def test_seeds_and_variants_are_runs_of_their_own_and_overrides_reach_all(write_grid, painted_dataset):
    folders = Folders(synthetic=str(painted_dataset()))
    entries = plan_entries(load_grid(write_grid()), folders, seeds=2, overrides=("schedule.steps=7",))
    assert [(e.variant, e.seed) for e in entries] == [(v, s) for s in (0, 1) for v in ("as it is", "wider")]
    assert len({entry.run.name for entry in entries}) == 4
    assert {entry.run.config.seed for entry in entries} == {0, 1}
    assert {entry.run.config.schedule.steps for entry in entries} == {7}


def test_stages_that_variants_share_are_trained_once(write_grid, painted_dataset):
    """Both finetunings start from the same pretraining; a third variant goes without."""
    finetune = {"config": "demo_finetune"}
    grid = load_grid(
        write_grid(
            stages=[{"config": "small"}, finetune],
            variants={
                "as it is": {},
                "without adversary": {
                    "stages": [{"config": "small"}, finetune | {"set": {"losses.adversarial_ratio": 0}}]
                },
                "pretrained only": {"stages": [{"config": "small"}]},
            },
        )
    )
    entries = plan_entries(grid, Folders(synthetic=str(painted_dataset()), real=str(painted_dataset())), seeds=1)
    first, second = levels(entries)
    assert len(first) == 1 and len(second) == 2
    assert {run.init.name for run in second} == {first[0].name}
    assert entries[2].run.name == first[0].name


def test_other_data_of_the_same_name_are_another_run(write_grid, painted_dataset, tmp_path):
    grid, names = load_grid(write_grid()), set()
    for number, scenes in enumerate((6, 7)):
        link = tmp_path / "data"
        link.unlink(missing_ok=True)
        link.symlink_to(painted_dataset(scenes=scenes))
        entries = plan_entries(grid, Folders(synthetic=str(link)), seeds=1)
        names |= {entry.run.name for entry in entries}
        assert len(names) == 2 * (number + 1)


def test_a_grid_that_begins_with_finetuning_asks_for_a_trained_run(write_grid, painted_dataset, untrained_run):
    grid = load_grid(write_grid(stages=[{"config": "small_finetune"}]))
    folders = Folders(str(painted_dataset()), real=str(painted_dataset()))
    with pytest.raises(UserError, match="as it is: its first stage is finetune; give a trained run with --init"):
        plan_entries(grid, folders, seeds=1)
    first = plan_entries(grid, folders, seeds=1, start=untrained_run)[0].run
    assert first.start == untrained_run and first.init is None
    bare = load_grid(write_grid(stages=[{"config": "small_finetune", "from_imagenet": True}]))
    other = plan_entries(bare, folders, seeds=1, start=untrained_run)[0].run
    assert other.start is None and other.name != first.name


def test_footage_does_not_change_the_runs_that_never_see_it(write_grid, painted_dataset):
    grid = load_grid(write_grid(stages=[{"config": "small"}, {"config": "demo_finetune"}]))
    synthetic = str(painted_dataset())
    names = [
        [
            [run.name for run in entry.run.lineage]
            for entry in plan_entries(grid, Folders(synthetic, real=real), seeds=1)
        ]
        for real in (str(painted_dataset(scenes=6)), str(painted_dataset(scenes=7)))
    ]
    for one, other in zip(*names, strict=True):
        assert one[0] == other[0]
        assert one[1] != other[1]
