"""OpenGL without a display, through pyrender: what pixels see, and which lamps reach it.

pyrender opens the context and draws nothing: shaders of our own write triangle numbers, depths, barycentric weights and
the lamps' shadows, without anti-aliasing. A process has one context and keeps it, since ending one ends the display
connection that all of them share.
"""

import ctypes
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from posecore.camera import Camera
from posecore.errors import UserError

_SHADERS = Path(__file__).parent / "shaders"
_NEAR_M, _FAR_M = 0.1, 1000.0  # Blender's cameras see from 0.1 m on, too
_MAP_SIZE = 512  # texels a side of a lamp's depth map
_LARGE = 32  # triangles at most that reach out of the maps
_MAPS = 4  # lamps that one drawing takes
_MAP_NEAR_M = 0.05  # a lamp's map is laid out by what is further away
_WIDEST = 4.0  # tangent of half the angle that a lamp's map may see
_HELP = (
    "which engine.name: pyrender and eevee need; "
    "on Debian or Ubuntu install libegl1, libgl1 and libgl1-mesa-dri, which also render without a GPU"
)


@dataclass(frozen=True, eq=False)
class Sight:
    """What pixels see.

    Attributes:
        triangle: [H, W] int32, -1 for none. depth_m: [H, W] float32 planar, infinite for none.
        weights: [H, W, 3] float32 barycentric.
        lit: [H, W, L] uint8 0..255: how much of each lamp's light passes what stands between.
    """

    triangle: np.ndarray
    depth_m: np.ndarray
    weights: np.ndarray
    lit: np.ndarray


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
    _context()
    from OpenGL.GL import GL_RENDERER, glGetString

    return glGetString(GL_RENDERER).decode()


def look(
    vertices: np.ndarray,
    triangles: np.ndarray,
    camera: Camera,
    lamps: np.ndarray,
    casters: np.ndarray,
    large: np.ndarray,
) -> tuple[Sight, Sight]:
    """Look at triangles, from both sides, through the pixels of a camera.

    Args:
        vertices: [V, 3] world metres. triangles: [T, 3].
        lamps: [L, 4] places and 1, or directions and 0 for lamps that are infinitely far.
        casters: [N, 3] world points within whose box, as each lamp sees it, shadows of depth maps fall.
        large: [M] indices of triangles that reach further and cast exact shadows; the first 32 count.

    Returns:
        What is seen through the pixels' centres, and through their corners (one row and one column more).

    Raises:
        UserError: there is no OpenGL without a display here.
    """
    context = _context()
    with _old_habits():
        context.load(vertices, triangles)
        context.draw_numbers(camera)
        batches = [lamps[first : first + _MAPS] for first in range(0, len(lamps), _MAPS)] or [lamps]
        drawn = []
        for batch in batches:
            maps = [_lamp_map(lamp, casters) for lamp in batch]
            context.draw_maps(maps)
            drawn.append(
                [context.draw_sight(camera, at_centres, batch, maps, large[:_LARGE]) for at_centres in (True, False)]
            )
    centres, corners = ([views[index] for views in drawn] for index in (0, 1))
    return _sight(centres, batches), _sight(corners, batches)


def _sight(drawn: list[tuple[np.ndarray, np.ndarray]], batches: list[np.ndarray]) -> Sight:
    """Joins what sight.frag wrote for batches of lamps."""
    seen = drawn[0][0]
    triangle = seen[..., 0].astype(np.int32) - 1
    v, w = seen[..., 2], seen[..., 3]
    shares = [lit[..., : len(batch)] for (_, lit), batch in zip(drawn, batches, strict=True)]
    return Sight(
        triangle=triangle,
        depth_m=np.where(triangle >= 0, seen[..., 1], np.float32(np.inf)),
        weights=np.stack([1 - v - w, v, w], axis=-1),
        lit=np.concatenate(shares, axis=-1),
    )


@dataclass(frozen=True, eq=False)
class _LampMap:
    """clip_from_world: [4, 4]. texel_m: width of a texel, at distance 1 of a lamp that is not infinitely far."""

    clip_from_world: np.ndarray
    texel_m: float


def _lamp_map(lamp: np.ndarray, casters: np.ndarray) -> _LampMap:
    """How a lamp looks at the box of some points."""
    is_near = lamp[3] > 0
    forward = casters.mean(axis=0) - lamp[:3] if is_near else -lamp[:3]
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0] if abs(forward[2]) < 0.9 else [1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])
    points = (casters - lamp[:3] * lamp[3]) @ turn.T
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = turn, -turn @ lamp[:3] * lamp[3]
    clip = np.zeros((4, 4))
    if is_near:
        points = points[points[:, 2] > _MAP_NEAR_M]
        plane = np.clip(points[:, :2] / points[:, 2:], -_WIDEST, _WIDEST)
        # half way, since a depth map's steps grow with the ratio of its ends; what is nearer counts at its end
        near_m = max(points[:, 2].min() / 2, _MAP_NEAR_M) if len(points) else _MAP_NEAR_M
        far_m = points[:, 2].max(initial=near_m) + 1.0
        clip[2, 2:] = (far_m + near_m) / (far_m - near_m), -2 * far_m * near_m / (far_m - near_m)
        clip[3, 2] = 1
    else:
        plane = points[:, :2]
        near_m, far_m = points[:, 2].min() - 1.0, points[:, 2].max() + 1.0
        clip[2, 2:] = 2 / (far_m - near_m), -(far_m + near_m) / (far_m - near_m)
        clip[3, 3] = 1
    plane = plane if len(plane) else np.zeros((1, 2))  # nothing lies before the lamp
    low, high = plane.min(axis=0), plane.max(axis=0)
    wide = np.maximum(high - low, 1e-3) * 1.05
    middle_at = 2 if is_near else 3  # what a ray's place in the plane is divided by
    clip[[0, 1], [0, 1]] = 2 / wide
    clip[[0, 1], middle_at] = -(high + low) / wide
    return _LampMap(clip @ world, float(wide.max()) / _MAP_SIZE)


def _clip_from_world(camera: Camera) -> np.ndarray:
    """[4, 4]; the first row of what is drawn is the picture's first."""
    K = camera.K
    clip = np.zeros((4, 4))
    clip[0, 0], clip[0, 2] = 2 * K[0, 0] / camera.width, 2 * K[0, 2] / camera.width - 1
    clip[1, 1], clip[1, 2] = 2 * K[1, 1] / camera.height, 2 * K[1, 2] / camera.height - 1
    clip[2, 2:] = (_FAR_M + _NEAR_M) / (_FAR_M - _NEAR_M), -2 * _FAR_M * _NEAR_M / (_FAR_M - _NEAR_M)
    clip[3, 2] = 1
    return clip @ camera.cam_from_world


class _Context:
    """This process's OpenGL context and what it keeps there."""

    def __init__(self, renderer: Any) -> None:
        from OpenGL import GL

        self._gl = GL
        self._renderer = renderer  # it ends the context when it is let go
        self._make_current()
        GL.glBindVertexArray(GL.glGenVertexArrays(1))
        self._vertices, self._triangles = GL.glGenBuffers(2)
        self._loaded: np.ndarray | None = None
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._vertices)
        GL.glEnableVertexAttribArray(0)
        GL.glVertexAttribPointer(0, 3, GL.GL_FLOAT, GL.GL_FALSE, 16, None)
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, self._triangles)
        self._number = _program(GL, "triangles.vert", "number.frag")
        self._depth = _program(GL, "triangles.vert", "depth.frag")
        self._sight = _program(GL, "whole.vert", "sight.frag")
        self._numbers, triangles, vertices = GL.glGenTextures(3)
        for unit, kind, texture, name in (
            (1, GL.GL_TEXTURE_2D, self._numbers, "numbers"),
            (2, GL.GL_TEXTURE_BUFFER, triangles, "triangles"),
            (3, GL.GL_TEXTURE_BUFFER, vertices, "vertices"),
        ):
            GL.glActiveTexture(GL.GL_TEXTURE0 + unit)
            GL.glBindTexture(kind, texture)
            GL.glUseProgram(self._sight)
            GL.glUniform1i(self._uniform(self._sight, name), unit)
        self._buffers = ((2, GL.GL_R32I, self._triangles), (3, GL.GL_RGBA32F, self._vertices))
        GL.glActiveTexture(GL.GL_TEXTURE0)
        self._maps = GL.glGenTextures(1)
        GL.glBindTexture(GL.GL_TEXTURE_2D_ARRAY, self._maps)
        GL.glTexImage3D(
            GL.GL_TEXTURE_2D_ARRAY, 0, GL.GL_DEPTH_COMPONENT32F, _MAP_SIZE, _MAP_SIZE, _MAPS, 0,
            GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, None,
        )  # fmt: skip
        for name, value in (
            (GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR),
            (GL.GL_TEXTURE_MAG_FILTER, GL.GL_LINEAR),
            (GL.GL_TEXTURE_WRAP_S, GL.GL_CLAMP_TO_EDGE),
            (GL.GL_TEXTURE_WRAP_T, GL.GL_CLAMP_TO_EDGE),
            (GL.GL_TEXTURE_COMPARE_MODE, GL.GL_COMPARE_REF_TO_TEXTURE),
            (GL.GL_TEXTURE_COMPARE_FUNC, GL.GL_LEQUAL),
        ):
            GL.glTexParameteri(GL.GL_TEXTURE_2D_ARRAY, name, value)
        self._map_target, self._number_target, self._sight_target = GL.glGenFramebuffers(3)
        self._pictures = GL.glGenRenderbuffers(3)
        self._size = (0, 0)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glDisable(GL.GL_BLEND)
        GL.glClearColor(0, 0, 0, 0)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)

    def _make_current(self) -> None:
        self._renderer._platform.make_current()  # pyrender offers no other way

    def load(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        """Take over vertices [V, 3] and triangles [T, 3], which are compared by identity."""
        GL = self._gl
        self._make_current()
        for target, buffer, values in (
            (GL.GL_ARRAY_BUFFER, self._vertices, np.pad(vertices.astype(np.float32), ((0, 0), (0, 1)))),
            (GL.GL_ELEMENT_ARRAY_BUFFER, self._triangles, np.ascontiguousarray(triangles, dtype=np.int32)),
        ):
            if target == GL.GL_ELEMENT_ARRAY_BUFFER and triangles is self._loaded:
                continue
            GL.glBindBuffer(target, buffer)
            GL.glBufferData(target, values.nbytes, values, GL.GL_STREAM_DRAW)
        self._loaded = triangles
        for unit, kind, buffer in self._buffers:
            GL.glActiveTexture(GL.GL_TEXTURE0 + unit)
            GL.glTexBuffer(GL.GL_TEXTURE_BUFFER, kind, buffer)

    def draw_maps(self, maps: list[_LampMap]) -> None:
        """Draw the depth map of each lamp."""
        GL = self._gl
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._map_target)
        GL.glDrawBuffer(GL.GL_NONE)
        GL.glViewport(0, 0, _MAP_SIZE, _MAP_SIZE)
        GL.glUseProgram(self._depth)
        # what lies before or behind a map's range still counts, at its ends
        GL.glEnable(GL.GL_DEPTH_CLAMP)
        GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glPolygonOffset(1.5, 2.0)
        for layer, lamp in enumerate(maps):
            GL.glFramebufferTextureLayer(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, self._maps, 0, layer)
            GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
            self._set_matrix(self._depth, "clip_from_world", lamp.clip_from_world)
            self._draw_triangles()
        GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glDisable(GL.GL_DEPTH_CLAMP)

    def draw_numbers(self, camera: Camera) -> None:
        """Draw triangles' numbers at twice the camera's resolution, so that every other pixel is a pixel's centre."""
        GL = self._gl
        width, height = 2 * camera.width + 1, 2 * camera.height + 1
        K = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]) @ camera.K
        self._resize(camera.width, camera.height)
        GL.glViewport(0, 0, width, height)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._number_target)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT | GL.GL_DEPTH_BUFFER_BIT)
        GL.glUseProgram(self._number)
        clip = _clip_from_world(Camera(width, height, K, camera.cam_from_world))
        self._set_matrix(self._number, "clip_from_world", clip)
        self._draw_triangles()

    def draw_sight(
        self, camera: Camera, at_centres: bool, lamps: np.ndarray, maps: list[_LampMap], large: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What sight.frag writes, [H, W, 4] float32 and [H, W, 4] uint8, for pixels' centres or corners."""
        GL = self._gl
        width, height = camera.width + (not at_centres), camera.height + (not at_centres)
        GL.glViewport(0, 0, width, height)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._sight_target)
        GL.glUseProgram(self._sight)
        K = camera.K.copy()
        K[:2, 2] += 0.0 if at_centres else 0.5
        rays = np.ascontiguousarray(camera.cam_from_world[:3, :3].T @ np.linalg.inv(K), dtype=np.float32)
        GL.glUniform1i(self._uniform(self._sight, "first"), int(at_centres))
        GL.glUniformMatrix3fv(self._uniform(self._sight, "world_from_pixel"), 1, GL.GL_TRUE, rays)
        GL.glUniform3f(self._uniform(self._sight, "eye"), *camera.position_world)
        GL.glUniform1i(self._uniform(self._sight, "num_lamps"), len(lamps))
        GL.glUniform1i(self._uniform(self._sight, "num_large"), len(large))
        if len(large):
            GL.glUniform1iv(self._uniform(self._sight, "large"), len(large), large.astype(np.int32))
        to_unit = np.diag([0.5, 0.5, 0.5, 1.0])
        to_unit[:3, 3] = 0.5
        for number, (lamp, lamp_map) in enumerate(zip(lamps, maps, strict=True)):
            self._set_matrix(self._sight, f"map_from_world[{number}]", to_unit @ lamp_map.clip_from_world)
            GL.glUniform1f(self._uniform(self._sight, f"texel_m[{number}]"), lamp_map.texel_m)
            GL.glUniform4f(self._uniform(self._sight, f"lamp_place[{number}]"), *lamp)
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)
        seen = np.empty((height, width, 4), dtype=np.float32)
        lit = np.empty((height, width, 4), dtype=np.uint8)
        for attachment, kind, into in (
            (GL.GL_COLOR_ATTACHMENT0, GL.GL_FLOAT, seen),
            (GL.GL_COLOR_ATTACHMENT1, GL.GL_UNSIGNED_BYTE, lit),
        ):
            GL.glReadBuffer(attachment)
            GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, kind, into)
        return seen, lit

    def _draw_triangles(self) -> None:
        assert self._loaded is not None
        self._gl.glDrawElements(self._gl.GL_TRIANGLES, self._loaded.size, self._gl.GL_UNSIGNED_INT, None)

    def _resize(self, width: int, height: int) -> None:
        if self._size == (width, height):
            return
        GL = self._gl
        self._size = (width, height)
        GL.glActiveTexture(GL.GL_TEXTURE1)
        GL.glTexImage2D(
            GL.GL_TEXTURE_2D, 0, GL.GL_R32I, 2 * width + 1, 2 * height + 1, 0, GL.GL_RED_INTEGER, GL.GL_INT, None
        )
        for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_NEAREST)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._number_target)
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, self._numbers, 0)
        for buffer, target, attachment, kind, times in (
            (0, self._number_target, GL.GL_DEPTH_ATTACHMENT, GL.GL_DEPTH_COMPONENT32F, 2),
            (1, self._sight_target, GL.GL_COLOR_ATTACHMENT0, GL.GL_RGBA32F, 1),
            (2, self._sight_target, GL.GL_COLOR_ATTACHMENT1, GL.GL_RGBA8, 1),
        ):
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, target)
            GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, self._pictures[buffer])
            GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, kind, times * width + 1, times * height + 1)
            GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, attachment, GL.GL_RENDERBUFFER, self._pictures[buffer])
        GL.glDrawBuffers(2, [GL.GL_COLOR_ATTACHMENT0, GL.GL_COLOR_ATTACHMENT1])

    @lru_cache(maxsize=64)  # noqa: B019  one context lives as long as its process
    def _uniform(self, program: int, name: str) -> int:
        return self._gl.glGetUniformLocation(program, name)

    def _set_matrix(self, program: int, name: str, matrix: np.ndarray) -> None:
        location = self._uniform(program, name)
        self._gl.glUniformMatrix4fv(location, 1, self._gl.GL_TRUE, matrix.astype(np.float32))


def _program(GL: Any, vertex: str, fragment: str) -> int:
    """A linked program of two shader files."""
    from OpenGL.GL.shaders import compileShader

    program = GL.glCreateProgram()
    for name, kind in ((vertex, GL.GL_VERTEX_SHADER), (fragment, GL.GL_FRAGMENT_SHADER)):
        GL.glAttachShader(program, compileShader((_SHADERS / name).read_text(), kind))
    GL.glLinkProgram(program)
    assert GL.glGetProgramiv(program, GL.GL_LINK_STATUS), GL.glGetProgramInfoLog(program)
    return program


@lru_cache(maxsize=1)
def _context() -> _Context:
    """The context that pyrender opens."""
    if os.environ.setdefault("PYOPENGL_PLATFORM", "egl") == "egl":
        for library in ("libEGL.so.1", "libGL.so.1"):
            try:
                ctypes.CDLL(library)
            except OSError:
                raise UserError(f"there is no {library} here, {_HELP}") from None
    with _old_habits():
        import pyrender

        try:
            renderer = pyrender.OffscreenRenderer(1, 1)
        except Exception as error:  # PyOpenGL raises its own kinds, pyrender asserts
            raise UserError(f"OpenGL without a display does not work here ({error!r}), {_HELP}") from error
        return _Context(renderer)


class _old_habits(warnings.catch_warnings):
    """Silences what pyrender and the PyOpenGL that it pins do against the advice of newer Pythons."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", DeprecationWarning)
