"""Opens the engine that a recipe names; bpy is imported only when it is needed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from posecore.errors import UserError
from synthgen.painter import PainterRenderer
from synthgen.recipe import EngineRecipe
from synthgen.renderer import Renderer, RenderSettings


def open_renderer(engine: EngineRecipe, asset_path: Callable[[str], Path], threads: int) -> Renderer:
    """The renderer that `engine.name` stands for.

    Raises:
        UserError: its package is not installed.
    """
    match engine.name:
        case "painter":
            return PainterRenderer()
        case "cycles":
            require_engine(engine)
            from synthgen.blender.cycles import CyclesRenderer

            settings = RenderSettings(engine.samples, engine.denoise, engine.bounces, engine.device)
            return CyclesRenderer(settings, asset_path, threads)


def require_engine(engine: EngineRecipe) -> None:
    """Raise UserError if the engine's package is missing, without importing it."""
    if engine.name == "cycles" and importlib.util.find_spec("bpy") is None:
        raise UserError(
            "engine.name: cycles needs Blender's bpy, which is not installed; install posesynth[render] on Python 3.11"
        )
