"""What a recipe may vary: tagged values in YAML, drawn by one function.

0.5                                                   constant
{uniform: [0.2, 0.8]}
{log_uniform: [0.1, 10]}
{normal: {mean: 0, sd: 10, low: -30, high: 30}}       truncated to low..high by drawing again
{choice: {walk: 3, run: 1}}                           names, or numbers, with weights, which need not sum to 1
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import PlainSerializer, PlainValidator


@dataclass(frozen=True)
class Constant:
    value: float


@dataclass(frozen=True)
class Uniform:
    low: float
    high: float


@dataclass(frozen=True)
class LogUniform:
    low: float
    high: float


@dataclass(frozen=True)
class Normal:
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Weighted:
    """Numbers with weights, in the order of the recipe."""

    weights: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Choice:
    """Names with weights, in the order of the recipe."""

    weights: tuple[tuple[str, float], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.weights)


Distribution = Constant | Uniform | LogUniform | Normal | Weighted


def draw(distribution: Distribution, rng: np.random.Generator) -> float:
    """One number from the distribution, always within `support`."""
    match distribution:
        case Constant(value):
            return value
        case Uniform(low, high):
            return float(rng.uniform(low, high))
        case LogUniform(low, high):
            return float(np.clip(math.exp(rng.uniform(math.log(low), math.log(high))), low, high))
        case Normal(mean, sd, low, high):
            while True:
                value = float(rng.normal(mean, sd))
                if low <= value <= high:
                    return value
        case Weighted(weights):
            return weights[_pick(weights, rng)][0]


def draw_name(choice: Choice, rng: np.random.Generator) -> str:
    """One of the names, by weight."""
    return choice.names[_pick(choice.weights, rng)]


def draw_integer(distribution: Distribution, rng: np.random.Generator) -> int:
    """One whole number; uniform includes both ends with equal weight."""
    if isinstance(distribution, Uniform):
        return int(rng.integers(round(distribution.low), round(distribution.high) + 1))
    return round(draw(distribution, rng))


def support(distribution: Distribution) -> tuple[float, float]:
    """Least and greatest value that `draw` can return."""
    match distribution:
        case Constant(value):
            return value, value
        case Uniform(low, high) | LogUniform(low, high) | Normal(_, _, low, high):
            return low, high
        case Weighted(weights):
            values = [value for value, _ in weights]
            return min(values), max(values)


def number(low: float = -math.inf, high: float = math.inf) -> Any:
    """Type of a recipe field that holds a distribution of numbers with its support within low..high."""

    def parse(value: Any) -> Distribution:
        distribution = value if isinstance(value, Distribution) else _parse_number(value)
        least, greatest = support(distribution)
        if least < low or greatest > high:
            raise ValueError(f"must stay within {low:g}..{high:g}, got {least:g}..{greatest:g}")
        return distribution

    return Annotated[Distribution, PlainValidator(parse), PlainSerializer(_dump_number)]


def names(*allowed: str) -> Any:
    """Type of a recipe field that holds a choice among names; with `allowed` empty, among any."""

    def parse(value: Any) -> Choice:
        choice = value if isinstance(value, Choice) else _parse_choice(value)
        unknown = [name for name in choice.names if allowed and name not in allowed]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(allowed)}")
        return choice

    return Annotated[Choice, PlainValidator(parse), PlainSerializer(_dump_choice)]


def _pick(weights: tuple[tuple[Any, float], ...], rng: np.random.Generator) -> int:
    """An index, by weight."""
    shares = np.array([weight for _, weight in weights])
    return int(rng.choice(len(shares), p=shares / shares.sum()))


def _parse_number(value: Any) -> Distribution:
    if isinstance(value, bool):
        raise ValueError(f"expected a number or a distribution, got {value}")
    if isinstance(value, int | float):
        return Constant(_finite(value))
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(
            "expected a number or one of {uniform: [low, high]}, {log_uniform: [low, high]}, "
            f"{{normal: {{mean, sd, low, high}}}}, {{choice: {{number: weight}}}}, got {value!r}"
        )
    ((tag, content),) = value.items()
    match tag, content:
        case "uniform", [low, high]:
            low, high = _ordered(low, high)
            return Uniform(low, high)
        case "log_uniform", [low, high]:
            low, high = _ordered(low, high)
            if low <= 0:
                raise ValueError(f"log_uniform needs low above 0, got low={low:g}")
            return LogUniform(low, high)
        case "normal", {"mean": mean, "sd": sd, "low": low, "high": high} if len(content) == 4:
            low, high = _ordered(low, high)
            mean, sd = _finite(mean), _finite(sd)
            if sd <= 0 or not low <= mean <= high:
                raise ValueError(f"normal needs sd above 0 and its mean within low..high, got mean={mean:g}, sd={sd:g}")
            return Normal(mean, sd, low, high)
        case "choice", dict() | list():
            return Weighted(tuple((_as_number(name), weight) for name, weight in _parse_choice(content).weights))
    raise ValueError(f"{tag!r} with {content!r} is not a distribution; see the head of recipes/humans_dr.yaml")


def _parse_choice(value: Any) -> Choice:
    if isinstance(value, str):
        return Choice(((value, 1.0),))
    if isinstance(value, dict) and set(value) == {"choice"}:
        value = value["choice"]
    if isinstance(value, list):
        value = dict.fromkeys(value, 1.0)
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected a name or {{choice: {{name: weight, ...}}}}, got {value!r}")
    weights = tuple((str(name), _finite(weight)) for name, weight in value.items())
    if min(weight for _, weight in weights) < 0 or sum(weight for _, weight in weights) <= 0:
        raise ValueError("weights of a choice must not be negative and not all be 0")
    return Choice(weights)


def _as_number(name: str) -> float:
    try:
        return _finite(float(name))
    except ValueError:
        raise ValueError(f"a choice of numbers has {name!r} among them") from None


def _ordered(low: Any, high: Any) -> tuple[float, float]:
    low, high = _finite(low), _finite(high)
    if low > high:
        raise ValueError(f"low must be below high, got low={low:g}, high={high:g}")
    return low, high


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def _dump_number(distribution: Distribution) -> Any:
    match distribution:
        case Constant(value):
            return float(value)  # a field's default may be written 0; what is read again is 0.0
        case Uniform(low, high):
            return {"uniform": [float(low), float(high)]}
        case LogUniform(low, high):
            return {"log_uniform": [float(low), float(high)]}
        case Normal(mean, sd, low, high):
            return {"normal": {"mean": float(mean), "sd": float(sd), "low": float(low), "high": float(high)}}
        case Weighted(weights):
            return {"choice": {f"{value:.17g}": weight for value, weight in weights}}


def _dump_choice(choice: Choice) -> Any:
    return {"choice": dict(choice.weights)}
