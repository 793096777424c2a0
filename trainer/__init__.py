"""Training, judging and using pose models. `from trainer import PosePredictor` is the way in from Python.

Names are loaded when they are first used: `import trainer` itself brings neither numpy nor torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.prediction.predictor import PosePredictor, Prediction

__all__ = ["PosePredictor", "Prediction"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from trainer.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
