import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from synthgen.distributions import (
    Choice,
    Normal,
    Uniform,
    Weighted,
    draw,
    draw_integer,
    draw_name,
    names,
    number,
    support,
)


class Knobs(BaseModel):
    model_config = ConfigDict(validate_default=True)
    share: number(0, 1) = 0.5
    kind: names("a", "b") = "a"


tagged = st.one_of(
    st.floats(0, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda p: {"uniform": sorted(p)}),
    st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)).map(lambda p: {"log_uniform": sorted(p)}),
    st.tuples(st.floats(0, 0.4), st.floats(0.6, 1)).map(
        lambda p: {"normal": {"mean": 0.5, "sd": 0.2, "low": p[0], "high": p[1]}}
    ),
)


@given(tagged, st.integers(0, 2**31))
def test_every_draw_lies_within_the_stated_support(value: object, seed: int) -> None:
    distribution = Knobs(share=value).share
    low, high = support(distribution)
    rng = np.random.default_rng(seed)
    assert all(low <= draw(distribution, rng) <= high for _ in range(20))


@given(tagged)
def test_distributions_survive_the_way_through_yaml(value: object) -> None:
    knobs = Knobs(share=value)
    assert Knobs(**knobs.model_dump(mode="json")) == knobs


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"uniform": [0.8, 0.2]}, "low must be below high, got low=0.8, high=0.2"),
        ({"uniform": [0, 2]}, r"must stay within 0..1, got 0..2"),
        ({"log_uniform": [0, 1]}, "log_uniform needs low above 0"),
        ({"normal": {"mean": 2, "sd": 1, "low": 0, "high": 1}}, "its mean within low..high"),
        ({"unifrom": [0, 1]}, "is not a distribution"),
        ("high", "expected a number or one of"),
        (True, "expected a number"),
        (float("nan"), "expected a finite number"),
    ],
)
def test_impossible_distributions_say_what_is_wrong(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Knobs(share=value)


@pytest.mark.parametrize("value", [{"choice": {"a": -1}}, {"choice": {"a": 0}}, {"choice": {"c": 1}}, 3, {}])
def test_impossible_choices_are_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        Knobs(kind=value)


def test_weights_decide_how_often_a_name_comes_up() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_name(Choice((("a", 3.0), ("b", 1.0), ("c", 0.0))), rng) for _ in range(4000)]
    assert drawn.count("c") == 0
    assert drawn.count("a") / 4000 == pytest.approx(0.75, abs=0.03)


def test_whole_numbers_take_both_ends_as_often_as_the_middle() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_integer(Uniform(0, 2), rng) for _ in range(3000)]
    assert [round(drawn.count(n) / 3000, 1) for n in range(3)] == [0.3, 0.3, 0.3]


def test_numbers_may_have_weights_and_their_support_is_checked() -> None:
    rng = np.random.default_rng(0)
    weighted = Knobs(share={"choice": {0: 3, 0.5: 1}}).share
    assert weighted == Weighted(((0.0, 3.0), (0.5, 1.0))) and support(weighted) == (0.0, 0.5)
    assert np.mean([draw(weighted, rng) == 0 for _ in range(2000)]) == pytest.approx(0.75, abs=0.03)
    assert Knobs(**json.loads(Knobs(share=weighted).model_dump_json())).share == weighted
    with pytest.raises(ValidationError, match=r"must stay within 0..1, got 0..2"):
        Knobs(share={"choice": [0, 2]})
    with pytest.raises(ValidationError, match="a choice of numbers has 'much' among them"):
        Knobs(share={"choice": {"much": 1}})


def test_a_truncated_normal_keeps_its_middle() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(Normal(0, 1, -1, 1), rng) for _ in range(2000)]
    assert abs(np.mean(drawn)) < 0.05 and np.std(drawn) == pytest.approx(0.54, abs=0.03)
