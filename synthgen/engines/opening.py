"""Opens the engine that a recipe names; bpy and pyrender are imported only when they are needed."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from posecore.errors import UserError
from synthgen.engines.painter import PainterRenderer
from synthgen.recipe import EngineRecipe
from synthgen.renderer import Renderer, RenderSettings

_PACKAGES = {"cycles": "bpy", "eevee": "bpy", "pyrender": "pyrender"}
_SOFTWARE_DRIVERS = ("llvmpipe", "softpipe", "swrast", "software rasterizer")


def open_renderer(engine: EngineRecipe, asset_path: Callable[[str], Path], threads: int) -> Renderer:
    """The renderer that `engine.name` stands for.

    Raises:
        UserError: its package is not installed, or eevee finds no GPU.
    """
    match engine.name:
        case "painter":
            return PainterRenderer()
        case "pyrender":
            require_engine(engine)
            from synthgen.engines.pyrender_engine import PyrenderRenderer

            return PyrenderRenderer(asset_path, threads)
        case "cycles" | "eevee":
            require_engine(engine)
            if engine.name == "eevee":
                _require_gpu(engine.device)
            from synthgen.blender.cycles import BlenderRenderer

            settings = RenderSettings(engine.samples, engine.denoise, engine.bounces, engine.device)
            return BlenderRenderer(engine.name, settings, asset_path, threads)


def require_engine(engine: EngineRecipe) -> None:
    """Raise UserError if the engine's package is missing, without importing it."""
    package = _PACKAGES.get(engine.name)
    if package and importlib.util.find_spec(package) is None:
        raise UserError(
            f"engine.name: {engine.name} needs the package {package}, which is not installed; "
            "install posesynth[render] on Python 3.11"
        )


def _require_gpu(device: str) -> None:
    """Blender ends the whole process if it finds no OpenGL, and shaders take minutes on a software driver: look first.

    Another process looks, since Blender does not start OpenGL beside somebody else's.

    Raises:
        UserError: no OpenGL, or a software driver and the recipe does not ask for it by `device: cpu`.
    """
    driver = opengl_driver()
    if device != "cpu" and any(name in driver.lower() for name in _SOFTWARE_DRIVERS):
        raise UserError(
            f"engine.name: eevee finds no GPU here, only {driver}, which takes minutes for a scene; "
            "use cycles or pyrender, or set engine.device to cpu to render with it all the same"
        )


def opengl_driver() -> str:
    """What OpenGL draws with here: the name of a GPU, or of a software driver such as llvmpipe.

    Raises:
        UserError: there is no OpenGL.
    """
    look = (
        "from posecore.errors import UserError\n"
        "from synthgen.engines.opengl import start_opengl\n"
        "try: print(start_opengl())\n"
        "except UserError as error: raise SystemExit(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError((done.stderr.strip().splitlines() or ["OpenGL does not work here"])[-1])
    return done.stdout.strip()
