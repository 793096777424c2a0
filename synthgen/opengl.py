"""OpenGL without a display, through pyrender: which triangle the centre of each pixel sees.

pyrender draws no colours here: a shader of our own writes triangle numbers, without anti-aliasing. A process has one
context and keeps it, since ending one ends the display connection that all of them share.
"""

import ctypes
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from posecore.camera import Camera
from posecore.errors import UserError
from posecore.transforms import invert_rigid

_SHADERS = Path(__file__).parent / "shaders"
_NEAR_M, _FAR_M = 0.1, 1000.0  # Blender's cameras see from 0.1 m on, too
_HELP = (
    "which engine.name: pyrender and eevee need; "
    "on Debian or Ubuntu install libegl1, libgl1 and libgl1-mesa-dri, which also render without a GPU"
)


def start_opengl(threads: int = 0) -> str:
    """Open this process's context, if it is not open yet.

    Args:
        threads: of a software driver; 0 takes all cores. The first call decides.

    Returns:
        What draws: the name of a GPU, or of a software driver such as llvmpipe.

    Raises:
        UserError: there is no OpenGL without a display here.
    """
    if threads:
        os.environ.setdefault("LP_NUM_THREADS", str(threads))  # of llvmpipe, read when a context is created
    _renderer()
    from OpenGL.GL import GL_RENDERER, glGetString

    return glGetString(GL_RENDERER).decode()


def find_triangles(vertices: np.ndarray, triangles: np.ndarray, camera: Camera) -> np.ndarray:
    """Look at triangles, from both sides, through a camera.

    Args:
        vertices: [V, 3] world metres. triangles: [T, 3].

    Returns:
        Index [H, W] int32 of the triangle that each pixel's centre sees, -1 for none.

    Raises:
        UserError: there is no OpenGL without a display here.
    """
    renderer = _renderer()
    import pyrender

    K = camera.K
    scene = pyrender.Scene()
    # pyrender always drops faces seen from behind, so each is there twice
    both_sides = np.concatenate([triangles, triangles[:, ::-1]])
    node = scene.add(pyrender.Mesh([pyrender.Primitive(positions=vertices, indices=both_sides)]))
    lens = pyrender.IntrinsicsCamera(K[0, 0], K[1, 1], K[0, 2], K[1, 2], znear=_NEAR_M, zfar=_FAR_M)
    scene.add(lens, pose=invert_rigid(camera.cam_from_world) @ np.diag([1.0, -1.0, -1.0, 1.0]))
    renderer.viewport_width, renderer.viewport_height = camera.width, camera.height
    with _old_habits():
        colours, _ = renderer.render(scene, pyrender.RenderFlags.SEG | pyrender.RenderFlags.RGBA, {node: (1, 1, 1)})
    number = np.ascontiguousarray(colours).view("<u4")[..., 0].astype(np.int32) & 0xFFFFFF
    return number - np.where(number > len(triangles), len(triangles), 0) - 1


@lru_cache(maxsize=1)
def _renderer() -> Any:
    """pyrender's renderer with our shaders in place of its own."""
    if os.environ.setdefault("PYOPENGL_PLATFORM", "egl") == "egl":
        for library in ("libEGL.so.1", "libGL.so.1"):
            try:
                ctypes.CDLL(library)
            except OSError:
                raise UserError(f"there is no {library} here, {_HELP}") from None
    with _old_habits():
        import pyrender
        from pyrender.shader_program import ShaderProgramCache

        try:
            renderer = pyrender.OffscreenRenderer(1, 1)
        except Exception as error:  # PyOpenGL raises its own kinds, pyrender asserts
            raise UserError(f"OpenGL without a display does not work here ({error!r}), {_HELP}") from error
    renderer._renderer._program_cache = ShaderProgramCache(shader_dir=str(_SHADERS))  # pyrender offers no other way
    return renderer


class _old_habits(warnings.catch_warnings):
    """Silences what pyrender and the PyOpenGL that it pins do against the advice of newer Pythons."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", DeprecationWarning)
