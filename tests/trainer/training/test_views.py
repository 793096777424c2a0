"""Views of one moment in finetuning: the term is there where it is asked for, the gauge wherever there are views."""

from dataclasses import replace

import pytest

from posecore.errors import UserError
from tests.trainer.training.small_runs import config, losses_by_step, train
from trainer.training.finetune import Finetune
from trainer.training.logs import read_metrics
from trainer.training.stages import begin


def test_finetuning_holds_views_together_and_resumes_exactly(tmp_path, folders, painted_views, stop_after):
    settings = config("finetune", "losses.views=1.0", "losses.smoothness=1.0")
    with_views = replace(folders, real=str(painted_views))
    train(tmp_path / "whole", with_views, settings)
    whole = losses_by_step(tmp_path / "whole")
    assert all(entry["views"] > 0 for entry in whole if "perceptual" in entry)
    restore = stop_after(Finetune, 3)
    assert not train(tmp_path / "broken", with_views, settings)
    restore()
    assert train(tmp_path / "broken", with_views, None, resume=True)
    assert losses_by_step(tmp_path / "broken") == whole


def test_views_are_gauged_whatever_their_weight_is(tmp_path, folders, painted_views):
    train(tmp_path / "run", replace(folders, real=str(painted_views)), config("finetune", steps=3))
    assert "views" not in read_metrics(tmp_path / "run", "train")[-1]
    assert read_metrics(tmp_path / "run", "gauge")[-1]["real_views_pct"] > 0
    _, stage = begin(config("finetune", steps=3), folders, "cpu", None)
    assert "real_views_pct" not in stage.watch.gauge(stage.trainee.ema.module)[0]


def test_views_are_refused_where_they_would_do_nothing(folders):
    with pytest.raises(UserError, match=r"losses\.views: stage mean_teacher does not compare views"):
        config("mean_teacher", "losses.views=1.0")
    with pytest.raises(UserError, match=r"losses\.views: compares 3D poses"):
        config("finetune", "losses.views=1.0", "model.uplift.in_loop=separate")
    with pytest.raises(UserError, match=r"pack it with --calibration, or set losses\.views=0"):
        begin(config("finetune", "losses.views=1.0"), folders, "cpu", None)
