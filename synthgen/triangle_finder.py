"""Which triangle the centre of each pixel sees, by OpenGL through pyrender, without a display.

pyrender draws no colours here: a shader of our own writes triangle numbers, without anti-aliasing.
"""

import ctypes
import os
import warnings
from pathlib import Path

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


class TriangleFinder:
    """An OpenGL context. Pictures of several sizes may follow one another; the buffer is made anew for each size.

    Args:
        threads: of a software driver; 0 takes all cores.

    Raises:
        UserError: there is no OpenGL without a display here.
    """

    def __init__(self, threads: int = 0) -> None:
        _require_egl()
        if threads:
            os.environ.setdefault("LP_NUM_THREADS", str(threads))  # of llvmpipe, read when a context is created
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
        with _old_habits():
            import pyrender
            from pyrender.shader_program import ShaderProgramCache
        self._pyrender = pyrender
        try:
            with _old_habits():
                self._renderer = pyrender.OffscreenRenderer(1, 1)
        except Exception as error:  # PyOpenGL raises its own kinds, pyrender asserts
            raise UserError(f"OpenGL without a display does not work here ({error!r}), {_HELP}") from error
        # pyrender offers no other way to its shader folder
        self._renderer._renderer._program_cache = ShaderProgramCache(shader_dir=str(_SHADERS))

    @property
    def driver(self) -> str:
        """What draws: the name of a GPU, or of a software driver such as llvmpipe."""
        with _old_habits():
            from OpenGL.GL import GL_RENDERER, glGetString

            return glGetString(GL_RENDERER).decode()

    def find(self, vertices: np.ndarray, triangles: np.ndarray, camera: Camera) -> np.ndarray:
        """Look at triangles, from both sides, through a camera.

        Args:
            vertices: [V, 3] world metres. triangles: [T, 3].

        Returns:
            [H, W] int32, -1 for none.
        """
        pyrender, K = self._pyrender, camera.K
        scene = pyrender.Scene()
        # pyrender always drops faces seen from behind, so each is there twice
        both_sides = np.concatenate([triangles, triangles[:, ::-1]])
        node = scene.add(pyrender.Mesh([pyrender.Primitive(positions=vertices, indices=both_sides)]))
        lens = pyrender.IntrinsicsCamera(K[0, 0], K[1, 1], K[0, 2], K[1, 2], znear=_NEAR_M, zfar=_FAR_M)
        scene.add(lens, pose=invert_rigid(camera.cam_from_world) @ np.diag([1.0, -1.0, -1.0, 1.0]))
        self._renderer.viewport_width, self._renderer.viewport_height = camera.width, camera.height
        with _old_habits():
            flags = pyrender.RenderFlags.SEG | pyrender.RenderFlags.RGBA
            colours, _ = self._renderer.render(scene, flags, {node: (1, 1, 1)})
        number = np.ascontiguousarray(colours).view("<u4")[..., 0].astype(np.int32) & 0xFFFFFF
        return number - np.where(number > len(triangles), len(triangles), 0) - 1

    def close(self) -> None:
        """Free the context."""
        self._renderer.delete()


def _require_egl() -> None:
    if os.environ.get("PYOPENGL_PLATFORM", "egl") != "egl":
        return  # the user has chosen another way
    for library in ("libEGL.so.1", "libGL.so.1"):
        try:
            ctypes.CDLL(library)
        except OSError:
            raise UserError(f"there is no {library} here, {_HELP}") from None


class _old_habits(warnings.catch_warnings):
    """Silences what pyrender and the PyOpenGL that it pins do against the advice of newer Pythons."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", DeprecationWarning)
