"""Opens the engine that a recipe names; bpy and pyrender are imported only when they are needed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from posecore.errors import UserError
from synthgen.painter import PainterRenderer
from synthgen.recipe import EngineRecipe
from synthgen.renderer import Renderer, RenderSettings

_PACKAGES = {"cycles": "bpy", "pyrender": "pyrender"}


def open_renderer(engine: EngineRecipe, asset_path: Callable[[str], Path], threads: int) -> Renderer:
    """The renderer that `engine.name` stands for.

    Raises:
        UserError: its package is not installed.
    """
    match engine.name:
        case "painter":
            return PainterRenderer()
        case "pyrender":
            require_engine(engine)
            from synthgen.pyrender_engine import PyrenderRenderer

            return PyrenderRenderer(asset_path, threads)
        case "cycles":
            require_engine(engine)
            from synthgen.blender.cycles import CyclesRenderer

            settings = RenderSettings(engine.samples, engine.denoise, engine.bounces, engine.device)
            return CyclesRenderer(settings, asset_path, threads)


def require_engine(engine: EngineRecipe) -> None:
    """Raise UserError if the engine's package is missing, without importing it."""
    package = _PACKAGES.get(engine.name)
    if package and importlib.util.find_spec(package) is None:
        raise UserError(
            f"engine.name: {engine.name} needs the package {package}, which is not installed; "
            "install posesynth[render] on Python 3.11"
        )
