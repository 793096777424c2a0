"""Curves and charts: what was logged against images seen, and breakdowns as dots in their places."""

import pytest

from trainer.evaluation.charts import (
    History,
    breakdown_charts,
    gauge_curves,
    gradient_curves,
    gradient_table,
    group_colours,
    loss_curves,
    speed_curves,
)


def history(name: str, **terms: list[float]) -> History:
    """A run that logged these terms, 100 images apart."""
    count = len(next(iter(terms.values())))
    entries = [
        {"step": step, "kind": "train", "seconds": 1.0, "images": 100 * step}
        | {term: values[step] for term, values in terms.items()}
        for step in range(count)
    ]
    return History(name, "#0072b2", entries, entries)


def metric(value: float, spread: float = 0.1) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def test_each_term_of_any_run_has_one_panel_that_says_where_it_began_and_ended():
    curves = loss_curves([history("a", bones=[3.0, 2.0, 1.0]), history("b", bones=[1.0, 0.5], facing=[4.0, 2.0])])
    assert [curve.caption for curve in curves] == ["bones", "facing"]
    assert curves[0].alt == "bones over images seen: a from 3 to 1; b from 1 to 0.5."
    assert curves[1].alt == "facing over images seen: b from 4 to 2."


def test_losses_gradients_and_speeds_are_told_apart():
    terms = {"bones": [1.0, 2.0], "gradient/encoder": [0.1, 0.2], "gradient/encoder/bones": [0.1, 0.2]}
    run = [history("a", **terms, data_wait_pct=[5.0, 6.0], total=[1.0, 2.0])]
    assert [curve.caption for curve in loss_curves(run)] == ["bones"]
    assert [curve.caption for curve in gradient_curves(run)] == ["encoder"]
    assert [curve.caption for curve in speed_curves(run)] == ["% of the time spent waiting for data"]


def test_gradients_of_losses_are_means_over_the_later_half_by_network():
    terms = {
        "gradient/encoder": [9.0] * 4,
        "gradient/encoder/joints_2d": [9.0, 9.0, 1.0, 2.0],
        "gradient/pose_head/joints_2d": [9.0, 9.0, 3.0, None],
        "gradient/encoder/bones": [9.0, 9.0, None, 0.5],
    }
    networks, rows = gradient_table(history("a", **terms))
    assert networks == ["encoder", "pose head"]
    assert rows == [("joints 2d", ["1.5", "3"]), ("bones", ["0.5", "-"])]
    assert gradient_table(history("a", bones=[1.0])) == ([], [])


def test_what_was_not_logged_twice_has_no_curve():
    assert loss_curves([history("a", bones=[1.0]), history("b", bones=[float("nan"), 1.0, None])]) == []


def test_gauges_show_both_kinds_of_flips_and_how_much_worse_a_wrong_pose_paints():
    terms = {"flip_rate": [0.5, 0.4], "flip_rate_viewer": [0.2, 0.1], "right": [2.0, 2.0], "shuffled": [2.0, 3.0]}
    flips, ratio = gauge_curves([history("a", **terms)])
    assert "a (subject's sides) from 0.5 to 0.4; a (viewer's sides) from 0.2 to 0.1" in flips.alt
    assert ratio.alt.endswith("a from 1 to 1.5.")


def test_long_histories_make_small_curves():
    long = loss_curves([history("a", bones=[float(step % 7) for step in range(20000)])])[0].svg
    assert len(long) < 40_000


def test_dots_lie_at_their_share_of_the_scale():
    results = [
        {"by_joint": {"left_knee": {"num_joints": 9, "pck_010": metric(0.5), "flip_rate": metric(0.3, 0.05)}}},
        {"by_joint": {"left_knee": {"num_joints": 8, "pck_010": metric(0.25)}, "nose": {"num_joints": 8}}},
    ]
    pck, flips = breakdown_charts(["#111111", "#222222"], results, "joint")
    assert (pck.title, pck.counted, pck.end) == ("PCK at 0.10 of the box", "joints", "1")
    ((title, count, (first, second)),) = pck.rows
    assert (title, count) == ("left knee", 9)
    assert (first.at, first.low, first.width, first.text) == pytest.approx((50, 40, 20, "0.500"))
    assert (second.at, second.colour) == (25, "#222222")
    assert flips.end == "0.5"
    assert flips.rows[0][2][0].at == pytest.approx(60)
    assert flips.rows[0][2][1] is None


def test_ranges_stand_in_their_order_though_the_first_run_lacks_some():
    row = {"num_samples": 9, "pck_010": metric(0.5)}
    results = [{"by_azimuth": {"30..60": row, "unknown": row}}, {"by_azimuth": {"0..30": row, "30..60": row}}]
    (chart,) = breakdown_charts(["#111111", "#222222"], results, "azimuth")
    assert [title for title, _, _ in chart.rows] == ["0..30", "30..60", "unknown"]


def test_one_row_is_no_chart():
    results = [{"by_species": {"human": {"num_samples": 9, "pck_010": metric(0.5)}}}]
    assert breakdown_charts(["#111111"], results, "species") == []
    assert breakdown_charts(["#111111"], [{}], "species") == []


def test_groups_have_colours_of_their_own_which_their_runs_share():
    assert len(set(group_colours(range(12)))) == 12
    first, second, third = group_colours([0, 1, 0])
    assert first == third != second
