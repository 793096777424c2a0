"""The report: one file, offline, every picture described, sections only where there is something to show."""

import json
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.registry import find_benchmark
from trainer.config import override_config
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.report import write_report
from trainer.training.checkpoint import load_model, save_checkpoint


class _Page(HTMLParser):
    """Collects images, tables' cells, headings and every address of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images, self.addresses, self.headings, self.open_tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "img":
            self.images.append(attributes)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.open_tags.append(tag)

    def handle_data(self, data):
        if self.open_tags and self.open_tags[-1] in ("h1", "h2") and data.strip():
            self.headings.append(data.strip())


@pytest.fixture(scope="module")
def finished_run(untrained_run, tmp_path_factory):
    """The untrained run with a record of a training that never was."""
    run = tmp_path_factory.mktemp("finished") / "pre"
    shutil.copytree(untrained_run, run)
    lines = []
    for step in range(5, 60, 5):
        lines.append({"step": step, "kind": "train", "seconds": step, "joints_2d": 9 / step, "perceptual": None})
        lines[-1] |= {"bones": 0.1, "images_per_s": 30.0, "gradient/encoder/bones": 0.5}
        gauge = {"error_pct": 20 - step / 5, "error_pct_min": 18 - step / 5, "mean_pose_pct": 17.0}
        gauge |= {"right": 1.0, "shuffled": 1.0 + step / 100, "blank": 1.1 + step / 100}
        lines.append({"step": step, "kind": "gauge", "seconds": step, **gauge})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "pictures").mkdir()
    for step in (10, 50):
        cv2.imwrite(str(run / "pictures" / f"step_{step:06d}.png"), np.zeros((64, 160, 3), np.uint8))
    return run


@pytest.fixture(scope="module")
def full_page(finished_run, painted_dataset, painted_clips, tmp_path_factory):
    second = tmp_path_factory.mktemp("second") / "ft"
    shutil.copytree(finished_run, second)
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report([finished_run, second], out, str(painted_dataset()), str(painted_clips()), max_samples=12)
    return out.read_text()


def test_the_page_needs_nothing_from_outside(full_page):
    page = _Page(full_page)
    assert len(page.images) >= 7
    assert all(image["src"].startswith("data:image/") for image in page.images)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "<script" not in full_page


def test_every_picture_and_curve_is_described(full_page):
    assert all(image["alt"].strip() for image in _Page(full_page).images)
    # Two gauges, two losses and a speed; the page's title for each reader of the screen says what they show.
    assert full_page.count("<svg") == full_page.count('role="img"') == 5
    assert 'aria-label="bones over images seen: pre from 0.1 to 0.1; ft from 0.1 to 0.1."' in full_page


def test_all_sections_are_there(full_page):
    headings = " | ".join(_Page(full_page).headings)
    for part in (
        "pre, ft",
        "Numbers",
        "Learning",
        "Where it is right",
        "Best and worst",
        "What it is judged on",
        "From the first to the last step",
        "depend on the pose",
        "On real frames",
    ):
        assert part in headings
    assert "mean pose" in full_page
    assert "PA-MPJPE" in full_page
    assert "prefers-color-scheme: dark" in full_page


def test_the_worst_sample_is_named_and_stands_first(full_page, painted_dataset):
    (worst,) = [image["alt"] for image in _Page(full_page).images if image["alt"].startswith("Worst samples of ft")]
    errors = [float(part.split("%")[0]) for part in worst.split(": ", 1)[1].split(", ")]
    assert errors == sorted(errors, reverse=True)
    assert "% off: 0000" in worst


def test_settings_are_shown_where_the_runs_differ(untrained_run, tmp_path):
    other = tmp_path / "wide"
    shutil.copytree(untrained_run, other)
    weights = load_model(other).model.state_dict()
    config = override_config(load_model(other).config, ("losses.bones=7.5",))
    save_checkpoint(other, 2, config, {"model": weights, "ema": weights}, {}, {}, keep=1)
    write_report([untrained_run, other], tmp_path / "two.html")
    write_report([other], tmp_path / "one.html")
    row = (tmp_path / "two.html").read_text().split('<th scope="row">losses.bones</th>')[1].split("</tr>")[0]
    assert "<td>7.5</td>" in row and "<td>0.05</td>" in row
    assert "setting that differs" in (tmp_path / "two.html").read_text()
    assert "losses.data" not in (tmp_path / "two.html").read_text()
    assert "setting that differs" not in (tmp_path / "one.html").read_text()


def test_the_ink_of_curves_follows_the_page(full_page):
    assert "currentColor" in full_page
    assert "#123456" not in full_page


def test_the_same_runs_give_the_same_page(finished_run, tmp_path):
    for name in ("a.html", "b.html"):
        write_report([finished_run], tmp_path / name)
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()


def test_a_stored_evaluation_is_shown_rather_than_made_anew(finished_run, painted_dataset, tmp_path):
    run, data = tmp_path / "run", str(painted_dataset(scenes=4))
    shutil.copytree(finished_run, run)
    result = evaluate(run, data)
    result["error_pct"]["value"] = 12.345
    (run / "metrics.json").write_text(json.dumps(result))
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "12.3%" in page
    assert "What it is judged on" in page


def test_runs_that_differ_in_their_seed_alone_are_also_shown_together(untrained_run, painted_dataset, tmp_path):
    data = str(painted_dataset(scenes=4))
    runs = [tmp_path / name for name in ("c3_seed0", "c3_seed1", "other")]
    for number, (run, value, extra) in enumerate(
        zip(runs, (4.0, 6.0, 9.0), ((), (), ("losses.bones=7",)), strict=True)
    ):
        shutil.copytree(untrained_run, run)
        model = load_model(run)
        config = override_config(model.config, (f"seed={number}", *extra))
        weights = model.model.state_dict()
        save_checkpoint(run, 2, config, {"model": weights, "ema": weights}, {}, {}, keep=1)
        result = evaluate(run, data, max_samples=3)
        result["error_pct"]["value"] = value
        (run / "metrics.json").write_text(json.dumps(result))
    write_report(runs, tmp_path / "report.html")
    table = (tmp_path / "report.html").read_text().split("mean over seeds")[1].split("</table>")[0]
    assert ">c3_seed0 and 1 more<" in table and ">other<" in table
    assert "<td>5.0<small>4.0 to 6.0</small></td><td>9.0<small>9.0 to 9.0</small></td>" in table
    write_report([runs[1], runs[1] / "step_000002"], tmp_path / "without.html", data)
    assert "mean over seeds" not in (tmp_path / "without.html").read_text()


def test_stored_benchmarks_are_shown_by_their_own_metrics(untrained_run, tmp_path):
    for name in ("with", "without"):
        shutil.copytree(untrained_run, tmp_path / name)
    scores = {"pck_torso_020": {"value": 0.4321, "low": 0.4, "high": 0.5}}
    record = {"data": "x", "step": 1, "benchmark": "lsp", "num_samples": 77, "benchmark_metrics": scores}
    (tmp_path / "with" / "lsp.json").write_text(json.dumps(record))
    (tmp_path / "with" / "old.json").write_text(json.dumps(record | {"step": 9, "benchmark": "mpii"}))
    write_report([tmp_path / "with", tmp_path / "without"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert find_benchmark("lsp").title in page and find_benchmark("mpii").title not in page
    assert '<td>77</td><td><span class="quiet">n/a</span></td>' in page
    assert "0.432<small>0.4 to 0.5</small>" in page


def test_runs_are_judged_alike_where_not_all_have_a_stored_evaluation(untrained_run, painted_dataset, tmp_path):
    data = str(painted_dataset(scenes=4))
    for name in ("stored", "other"):
        shutil.copytree(untrained_run, tmp_path / name)
    result = evaluate(tmp_path / "stored", data, max_samples=3)
    result["error_pct"]["value"] = 12.345
    (tmp_path / "stored" / "metrics.json").write_text(json.dumps(result))
    write_report([tmp_path / "other", tmp_path / "stored"], tmp_path / "report.html", max_samples=5)
    page = (tmp_path / "report.html").read_text()
    assert "5 labelled pictures" in page
    assert "12.3" not in page


def test_what_is_not_known_is_left_out(untrained_run, tmp_path):
    write_report([untrained_run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "error, % of the crop" not in page
    assert "Learning" not in page and "<svg" not in page
    assert ">nan" not in page.lower()


def test_a_report_without_runs_or_of_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="at least one run"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(UserError, match="no such folder"):
        write_report([tmp_path / "none"], tmp_path / "report.html")
