"""What every engine offers: a stage in, passes out. Labels never come from here, only pixels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from synthgen.stage import Stage


@dataclass(frozen=True)
class RenderSettings:
    """How well to render: samples per pixel, denoiser or not, light bounces, and "auto", "cpu" or "gpu"."""

    samples: int
    denoise: bool
    bounces: int
    device: str


@dataclass(frozen=True, eq=False)
class Passes:
    """One rendered view.

    Attributes:
        radiance: [H, W, 3] float32, linear, before the sensor.
        instances: [H, W] uint8: subject ids, 1 and up in the order of the stage; 0 elsewhere. Not anti-aliased.
        depth_m: [H, W] float32 planar depth at pixel centres, infinite where there is nothing.
        parts: [H, W] uint8: 1 + index into the subject's part names; 0 elsewhere.
        normals: [H, W, 3] float32 world-space unit normals, zero where there is nothing.
    """

    radiance: np.ndarray
    instances: np.ndarray
    depth_m: np.ndarray
    parts: np.ndarray
    normals: np.ndarray


class Renderer(Protocol):
    """An engine. A stage is set once, then any of its frames and views rendered."""

    name: str
    version: str

    def set_stage(self, stage: Stage) -> None:
        """Take over a new scene; the one before is let go."""

    def render(self, frame: int, view: int) -> Passes:
        """Render one frame of the stage through one of its cameras."""

    def close(self) -> None:
        """Free what the engine holds."""
