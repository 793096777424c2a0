"""The one source of random numbers: named, independent streams.

A stream depends on seed, scene, attempt and its name alone, never on worker or order. Every knob draws from the
stream of its own name, so a new knob, or another distribution for one, changes no other draw.
"""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from synthgen.distributions import Choice, Distribution, draw, draw_integer, draw_name


@dataclass(frozen=True)
class Draws:
    """The draws of one scene.

    Attributes:
        attempt: 0, or how often this scene was rejected and drawn anew.
        prefix: of the names of streams, such as "camera-0.".
    """

    seed: int
    scene: int
    attempt: int = 0
    prefix: str = ""

    def within(self, name: str) -> "Draws":
        """The same, for knobs below `name`."""
        return replace(self, prefix=f"{self.prefix}{name}.")

    def stream(self, name: str) -> np.random.Generator:
        """A generator of its own for the draws called `name`."""
        return np.random.default_rng([self.seed, self.scene, self.attempt, zlib.crc32(f"{self.prefix}{name}".encode())])

    def number(self, name: str, distribution: Distribution) -> float:
        return draw(distribution, self.stream(name))

    def integer(self, name: str, distribution: Distribution) -> int:
        return draw_integer(distribution, self.stream(name))

    def choice(self, name: str, choice: Choice) -> str:
        return draw_name(choice, self.stream(name))

    def chance(self, name: str, probability: Distribution) -> bool:
        """True with a probability that is itself drawn."""
        rng = self.stream(name)
        return bool(rng.random() < draw(probability, rng))

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> float:
        return float(self.stream(name).uniform(low, high))
