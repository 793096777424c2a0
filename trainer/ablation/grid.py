"""What an ablation compares: strict, frozen settings, read from YAML by name (recipes/ablations/) or path.

A grid says through which stages every run goes, one starting from the other, and for each variant what it does
otherwise. Datasets, number of seeds and the machine are said on the command line.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from posecore.resources import resource_dir
from posecore.settings import load_settings
from trainer.evaluation.evaluate import METRIC_TITLES

GRID_VERSION = 1
GRIDS = "ablations"
"""The folder in recipes/ that holds the packaged ones."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Section):
    """One stage of a run. It starts from the stage before it; the first one from the run that the command names."""

    config: str = Field(..., description="Name in recipes/train/, or path; it says which stage it is.")
    set: dict[str, Any] = Field({}, description="Fields of the configuration, a.b: value.")
    from_imagenet: bool = Field(
        False, description="Starts from ImageNet's weights, whatever ran before: finetuning without pretraining."
    )


class Variant(_Section):
    """What one variant does otherwise."""

    set: dict[str, Any] = Field({}, description="Fields of every stage's configuration.")
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] | None = Field(
        None, description="Stages in place of the grid's. Stages that two variants have in common are trained once."
    )


class Grid(_Section):
    """A whole comparison."""

    version: Literal[1] = GRID_VERSION
    question: str = Field(..., description="What it asks, for the head of the table.")
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    variants: Annotated[dict[str, Variant], Field(min_length=2)]
    baseline: str = Field(..., description="The variant that the others' differences are taken to.")
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "error_pct",
        "error_pct_min",
        "flip_rate",
        "flip_rate_viewer",
        "pck_010",
    )

    @model_validator(mode="after")
    def _metrics_are_known(self) -> Grid:
        known = [
            name for name in METRIC_TITLES if name != "oks_ap"
        ]  # a metric of a whole set, not a mean over subjects
        if unknown := [name for name in self.metrics if name not in known]:
            raise ValueError(f"metrics: {', '.join(unknown)} not known; choose from {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _baseline_is_there(self) -> Grid:
        if self.baseline not in self.variants:
            raise ValueError(f"baseline {self.baseline} is none of the variants {', '.join(self.variants)}")
        return self

    def stages_of(self, variant: str) -> tuple[Stage, ...]:
        """The stages that a variant goes through, its changes in them."""
        own = self.variants[variant]
        return tuple(stage.model_copy(update={"set": {**stage.set, **own.set}}) for stage in own.stages or self.stages)


def load_grid(name_or_path: str) -> Grid:
    """A grid by name or path.

    Raises:
        UserError: not found, or refused; one line for each problem.
    """
    return load_settings(Grid, name_or_path, resource_dir("recipes") / GRIDS, "ablation")
