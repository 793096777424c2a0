"""OpenGL without a display, through pyrender: what spots of a picture see, and the light that comes from there.

pyrender opens the context and draws nothing: shaders of our own find each spot's triangle, draw the lamps' depth maps,
and compute depth, normal and radiance of spots from the exact geometry. Spots are pixels' centres and corners, without
anti-aliasing. A process has one context and keeps it, since ending one ends the display connection that all of them
share.
"""

import ctypes
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from posecore.camera import Camera
from posecore.errors import UserError
from synthgen.engines.patterns import KINDS, MATERIAL_TEXELS, material_table
from synthgen.engines.surfaces import Covering, Surfaces

_SHADERS = Path(__file__).parent / "shaders"
_NEAR_M, _FAR_M = 0.1, 1000.0  # Blender's cameras see from 0.1 m on, too
_MAP_SIZE = 512  # texels a side of a lamp's depth map
_MOST_LARGE = 32  # triangles at most that reach out of the maps
MOST_LAMPS = 5  # the environment's key light and LightRecipe's four
_MAP_NEAR_M = 0.05  # a lamp's map is laid out by what is further away
_WIDEST = 4.0  # tangent of half the angle that a lamp's map may see
_SAMPLERS = (
    "maps", "numbers", "sky", "texture_picture", "painting", "spots", "triangles", "material_of", "posed", "covering",
    "pictured", "materials",
)  # fmt: skip
_BUFFERS = _SAMPLERS[5:]
_HELP = (
    "which engine.name: pyrender and eevee need; "
    "on Debian or Ubuntu install libegl1, libgl1 and libgl1-mesa-dri, which also render without a GPU"
)


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a scene.

    Attributes:
        sky: a picture that `Graphics.upload` took. sky_from_world: [3, 3]. sky_strength: factor on its light.
        harmonics: [9, 3] of the sky's irradiance, see `Environment`.
        lamp_places: [L, 4] places and 1, or directions and 0 for lamps that are infinitely far; L <= MOST_LAMPS.
        lamp_irradiances: [L, 4] irradiance on a surface that faces the lamp, and the distance at which it is that, 0
            for lamps that are infinitely far.
        casters: [N, 3] world points within whose box, as each lamp sees it, shadows of depth maps fall.
        large: [M, 3, 3] triangles that reach further and cast exact shadows; the first 32 count.
    """

    sky: int
    sky_from_world: np.ndarray
    sky_strength: float
    harmonics: np.ndarray
    lamp_places: np.ndarray
    lamp_irradiances: np.ndarray
    casters: np.ndarray
    large: np.ndarray


@dataclass(frozen=True, eq=False)
class Shaded:
    """What N spots see: linear radiance [N, 3], planar depth [N] in metres (0 for none) and unit normals [N, 3] towards
    the camera (zero for none), float32."""

    radiance: np.ndarray
    depth_m: np.ndarray
    normals: np.ndarray


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
    open_graphics()
    from OpenGL.GL import GL_RENDERER, glGetString

    return glGetString(GL_RENDERER).decode()


class Graphics:
    """This process's OpenGL context and what it keeps there. Get it from `open_graphics`."""

    def __init__(self, renderer: Any) -> None:
        from OpenGL import GL

        self._gl = GL
        self._renderer = renderer  # it ends the context when it is let go
        self._make_current()
        GL.glBindVertexArray(GL.glGenVertexArrays(1))
        self._buffers = dict(zip(_BUFFERS, GL.glGenBuffers(len(_BUFFERS)), strict=True))
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._buffers["posed"])
        GL.glEnableVertexAttribArray(0)
        GL.glVertexAttribPointer(0, 3, GL.GL_FLOAT, GL.GL_FALSE, 32, None)
        GL.glBindBuffer(GL.GL_ELEMENT_ARRAY_BUFFER, self._buffers["triangles"])
        self._number = _program(GL, "triangles.vert", "number.frag")
        self._depth = _program(GL, "triangles.vert", "depth.frag")
        self._shade = _program(GL, "whole.vert", "shade.frag")
        GL.glUseProgram(self._shade)
        for unit, name in enumerate(_SAMPLERS):
            GL.glUniform1i(self._uniform(self._shade, name), unit)
        self._textures = dict(zip(_BUFFERS, GL.glGenTextures(len(_BUFFERS)), strict=True))
        self._numbers, self._maps = GL.glGenTextures(2)
        self._use("numbers", GL.GL_TEXTURE_2D, self._numbers)
        self._use("maps", GL.GL_TEXTURE_2D_ARRAY, self._maps)
        GL.glTexImage3D(
            GL.GL_TEXTURE_2D_ARRAY, 0, GL.GL_DEPTH_COMPONENT32F, _MAP_SIZE, _MAP_SIZE, MOST_LAMPS, 0,
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
        self._map_target, self._number_target, self._shade_target = GL.glGenFramebuffers(3)
        self._pictures = GL.glGenRenderbuffers(3)
        self._size = (0, 0)
        self._covering: Covering | None = None
        self._paintings: list[int] = []
        self._groups: list[tuple[int, int]] = []  # textures and paintings that spots may see, 0 for none
        self._group_of = np.zeros(0, dtype=np.int32)  # of each material
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glDisable(GL.GL_BLEND)
        GL.glClearColor(0, 0, 0, 0)
        for alignment in (GL.GL_PACK_ALIGNMENT, GL.GL_UNPACK_ALIGNMENT):
            GL.glPixelStorei(alignment, 1)

    def upload(self, image: np.ndarray, clamp_rows: bool = False) -> int:
        """Take over a picture [H, W, 3]: uint8 sRGB, or float32 linear. It repeats, but for rows if they are clamped.

        Returns:
            Its name, for `Light.sky` or `shade`; give it to `forget` in the end.
        """
        GL = self._gl
        self._make_current()
        texture = int(GL.glGenTextures(1))
        self._use("sky", GL.GL_TEXTURE_2D, texture)
        kind, format_ = (GL.GL_UNSIGNED_BYTE, GL.GL_SRGB8) if image.dtype == np.uint8 else (GL.GL_FLOAT, GL.GL_RGB32F)
        pixels = np.ascontiguousarray(image)
        GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, format_, *image.shape[1::-1], 0, GL.GL_RGB, kind, pixels)
        for name, value in (
            (GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR),
            (GL.GL_TEXTURE_MAG_FILTER, GL.GL_LINEAR),
            (GL.GL_TEXTURE_WRAP_S, GL.GL_REPEAT),
            (GL.GL_TEXTURE_WRAP_T, GL.GL_CLAMP_TO_EDGE if clamp_rows else GL.GL_REPEAT),
        ):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)
        return texture

    def forget(self, pictures: list[int]) -> None:
        """Let pictures go."""
        self._make_current()
        self._gl.glDeleteTextures(pictures)

    def load(self, surfaces: Surfaces, textures: Mapping[str, int]) -> None:
        """Take over the surfaces of a frame; a covering is known again by identity.

        Args:
            textures: names of the pictures that materials refer to.
        """
        self._make_current()
        covering = surfaces.covering
        posed = np.zeros((len(surfaces.vertices), 2, 4), dtype=np.float32)
        posed[:, 0, :3], posed[:, 1, :3] = surfaces.vertices, surfaces.normals
        self._fill("posed", posed)
        if covering is self._covering:
            return
        self._covering = covering
        place_and_tint = np.zeros((len(covering.place), 2, 4), dtype=np.float32)
        place_and_tint[:, 0, :3], place_and_tint[:, 1, :3] = covering.place, covering.tint
        self._fill("covering", place_and_tint)
        self._fill("triangles", covering.triangles)
        self._fill("material_of", covering.material)
        self._fill("pictured", np.concatenate([covering.uv, covering.painting_uv], axis=2))
        self._fill("materials", material_table(covering.materials, covering.flat))
        self.forget(self._paintings)
        images = {id(image): image for image in covering.paintings if image is not None}
        painting_of = {key: self.upload(image) for key, image in images.items()}
        self._paintings = list(painting_of.values())
        pictures = [
            (textures[material.texture] if material.texture else 0, painting_of.get(id(painting), 0))
            for material, painting in zip(covering.materials, covering.paintings, strict=True)
        ]
        self._groups = sorted({(0, 0), *pictures})
        self._group_of = np.array([self._groups.index(pair) for pair in pictures], dtype=np.int32)

    def find(self, camera: Camera) -> np.ndarray:
        """The triangles [2H + 1, 2W + 1] int32 that spots see, -1 for none: pixels' centres at odd rows and columns,
        their corners at even ones."""
        GL = self._gl
        width, height = 2 * camera.width + 1, 2 * camera.height + 1
        K = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]) @ camera.K
        self._resize(camera.width, camera.height)
        GL.glViewport(0, 0, width, height)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._number_target)
        GL.glClear(GL.GL_COLOR_BUFFER_BIT | GL.GL_DEPTH_BUFFER_BIT)
        GL.glUseProgram(self._number)
        clip = _clip_from_world(Camera(width, height, K, camera.cam_from_world))
        self._set_matrices(self._number, "clip_from_world", clip)
        assert self._covering is not None
        self._draw_triangles(0, len(self._covering.triangles))
        numbers = np.empty((height, width), dtype=np.int32)
        GL.glReadPixels(0, 0, width, height, GL.GL_RED_INTEGER, GL.GL_INT, numbers)
        rays = camera.cam_from_world[:3, :3].T @ np.linalg.inv(camera.K)
        GL.glUseProgram(self._shade)
        self._set_matrices(self._shade, "world_from_pixel", rays)
        GL.glUniform3f(self._uniform(self._shade, "eye"), *camera.position_world)
        GL.glUniform1f(self._uniform(self._shade, "focal_px"), camera.K[0, 0])
        return numbers - 1

    def light(self, light: Light) -> None:
        """Draw the lamps' depth maps of the surfaces, and shade by that light from now on."""
        GL, shade = self._gl, self._shade
        maps = [_lamp_map(lamp, light.casters) for lamp in light.lamp_places]
        self._draw_maps(maps)
        large = light.large[:_MOST_LARGE].reshape(-1, 3).astype(np.float32)
        GL.glUseProgram(shade)
        self._use("sky", GL.GL_TEXTURE_2D, light.sky)
        self._set_matrices(shade, "sky_from_world", light.sky_from_world)
        GL.glUniform1f(self._uniform(shade, "sky_strength"), light.sky_strength)
        GL.glUniform3fv(self._uniform(shade, "harmonics"), 9, np.ascontiguousarray(light.harmonics, dtype=np.float32))
        GL.glUniform1i(self._uniform(shade, "num_large"), len(large) // 3)
        GL.glUniform1i(self._uniform(shade, "num_lamps"), len(maps))
        if len(large):
            GL.glUniform3fv(self._uniform(shade, "large"), len(large), large)
        if maps:
            to_unit = np.diag([0.5, 0.5, 0.5, 1.0])
            to_unit[:3, 3] = 0.5
            self._set_matrices(shade, "map_from_world", np.stack([to_unit @ one.clip_from_world for one in maps]))
            GL.glUniform1fv(self._uniform(shade, "texel_m"), len(maps), np.float32([one.texel_m for one in maps]))
            for name, values in (("lamp_place", light.lamp_places), ("lamp_irradiance", light.lamp_irradiances)):
                GL.glUniform4fv(self._uniform(shade, name), len(maps), np.ascontiguousarray(values, dtype=np.float32))

    def shade(self, found: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Shaded:
        """What spots see by their rows and columns [N] in what `find` found, lit as `light` said last."""
        GL, width = self._gl, self._size[0]
        triangle = found[rows, columns]
        assert self._covering is not None
        group = np.where(triangle >= 0, self._group_of[self._covering.material[triangle]], 0)
        spots = (columns | rows << 16).astype(np.int32)
        counts = np.bincount(group, minlength=len(self._groups))
        order = None if counts.max(initial=0) == len(spots) else np.argsort(group, kind="stable")
        self._fill("spots", spots if order is None else spots[order])
        height = -(-len(spots) // width)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._shade_target)
        GL.glViewport(0, 0, width, height)
        GL.glUseProgram(self._shade)
        GL.glUniform1i(self._uniform(self._shade, "width"), width)
        GL.glEnable(GL.GL_SCISSOR_TEST)
        for pictures, last, count in zip(self._groups, np.cumsum(counts).tolist(), counts.tolist(), strict=True):
            if count:
                self._draw_run(last - count, last, width, pictures)
        GL.glDisable(GL.GL_SCISSOR_TEST)
        drawn = np.empty((2, height * width, 4), dtype=np.float32)
        for attachment, into in zip((GL.GL_COLOR_ATTACHMENT0, GL.GL_COLOR_ATTACHMENT1), drawn, strict=True):
            GL.glReadBuffer(attachment)
            GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_FLOAT, into)
        seen, normals = drawn[:, : len(spots)]
        if order is not None:
            at = np.empty_like(order)
            at[order] = np.arange(len(order))
            seen, normals = seen[at], normals[at]
        return Shaded(seen[:, :3], seen[:, 3], normals[:, :3])

    def _draw_run(self, first: int, last: int, width: int, pictures: tuple[int, int]) -> None:
        """Shade the spots from `first` to before `last`, which see a texture and a painting, or 0."""
        GL = self._gl
        top = first // width
        GL.glScissor(0, top, width, -(-last // width) - top)
        names = ("texture_picture", "has_texture"), ("painting", "has_painting")
        for (sampler, flag), picture in zip(names, pictures, strict=True):
            self._use(sampler, GL.GL_TEXTURE_2D, picture)
            GL.glUniform1i(self._uniform(self._shade, flag), int(picture > 0))
        GL.glUniform1i(self._uniform(self._shade, "first"), first)
        GL.glUniform1i(self._uniform(self._shade, "last"), last)
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)

    def _draw_maps(self, maps: list["_LampMap"]) -> None:
        GL = self._gl
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._map_target)
        GL.glDrawBuffer(GL.GL_NONE)
        GL.glViewport(0, 0, _MAP_SIZE, _MAP_SIZE)
        GL.glUseProgram(self._depth)
        # what lies before or behind a map's range still counts, at its ends
        GL.glEnable(GL.GL_DEPTH_CLAMP)
        GL.glEnable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glPolygonOffset(1.5, 2.0)
        GL.glFrontFace(GL.GL_CW)  # in maps as in pictures y points down
        assert self._covering is not None
        of_bodies = self._covering.num_of_bodies
        for layer, lamp in enumerate(maps):
            GL.glFramebufferTextureLayer(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, self._maps, 0, layer)
            GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
            self._set_matrices(self._depth, "clip_from_world", lamp.clip_from_world)
            # what of bodies faces away from the lamp lies behind what faces it
            GL.glEnable(GL.GL_CULL_FACE)
            self._draw_triangles(0, of_bodies)
            GL.glDisable(GL.GL_CULL_FACE)
            self._draw_triangles(of_bodies, len(self._covering.triangles))
        GL.glDisable(GL.GL_POLYGON_OFFSET_FILL)
        GL.glDisable(GL.GL_DEPTH_CLAMP)

    def _draw_triangles(self, first: int, last: int) -> None:
        GL, start = self._gl, ctypes.c_void_p(12 * first)
        GL.glDrawElements(GL.GL_TRIANGLES, 3 * (last - first), GL.GL_UNSIGNED_INT, start)

    def _resize(self, width: int, height: int) -> None:
        if self._size == (width, height):
            return
        GL = self._gl
        self._size = (width, height)
        self._use("numbers", GL.GL_TEXTURE_2D, self._numbers)
        GL.glTexImage2D(
            GL.GL_TEXTURE_2D, 0, GL.GL_R32I, 2 * width + 1, 2 * height + 1, 0, GL.GL_RED_INTEGER, GL.GL_INT, None
        )
        for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_NEAREST)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._number_target)
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, self._numbers, 0)
        # of pixels there are width x height, of corners a row and a column more
        rows = -(-(width + 1) * (height + 1) // width)
        for buffer, target, attachment, kind, *size in (
            (0, self._number_target, GL.GL_DEPTH_ATTACHMENT, GL.GL_DEPTH_COMPONENT32F, 2 * width + 1, 2 * height + 1),
            (1, self._shade_target, GL.GL_COLOR_ATTACHMENT0, GL.GL_RGBA32F, width, rows),
            (2, self._shade_target, GL.GL_COLOR_ATTACHMENT1, GL.GL_RGBA32F, width, rows),
        ):
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, target)
            GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, self._pictures[buffer])
            GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, kind, *size)
            GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, attachment, GL.GL_RENDERBUFFER, self._pictures[buffer])
        GL.glDrawBuffers(2, [GL.GL_COLOR_ATTACHMENT0, GL.GL_COLOR_ATTACHMENT1])

    def _fill(self, name: str, values: np.ndarray) -> None:
        """Give shaders an array: int32 numbers one by one, or float32 in fours."""
        GL = self._gl
        GL.glBindBuffer(GL.GL_TEXTURE_BUFFER, self._buffers[name])
        GL.glBufferData(GL.GL_TEXTURE_BUFFER, values.nbytes, np.ascontiguousarray(values), GL.GL_STREAM_DRAW)
        self._use(name, GL.GL_TEXTURE_BUFFER, self._textures[name])
        GL.glTexBuffer(
            GL.GL_TEXTURE_BUFFER, GL.GL_R32I if values.dtype == np.int32 else GL.GL_RGBA32F, self._buffers[name]
        )

    def _use(self, sampler: str, kind: Any, texture: int) -> None:
        """Have a sampler of the shaders read a texture."""
        self._gl.glActiveTexture(self._gl.GL_TEXTURE0 + _SAMPLERS.index(sampler))
        self._gl.glBindTexture(kind, texture)

    def _make_current(self) -> None:
        self._renderer._platform.make_current()  # pyrender offers no other way

    @lru_cache(maxsize=64)  # noqa: B019  one context lives as long as its process
    def _uniform(self, program: int, name: str) -> int:
        return self._gl.glGetUniformLocation(program, name)

    def _set_matrices(self, program: int, name: str, matrices: np.ndarray) -> None:
        """Set one matrix or an array of them, 3 x 3 or 4 x 4."""
        GL, size = self._gl, matrices.shape[-1]
        give = GL.glUniformMatrix3fv if size == 3 else GL.glUniformMatrix4fv
        values = np.ascontiguousarray(matrices, dtype=np.float32)
        give(self._uniform(program, name), values.size // size**2, GL.GL_TRUE, values)


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


def _program(GL: Any, vertex: str, fragment: str) -> int:
    """A linked program of two shader files, which know the numbers that both sides must agree on."""
    from OpenGL.GL.shaders import compileShader

    numbers = {name.upper(): number for number, name in enumerate(KINDS)}
    numbers |= {"LAMPS": MOST_LAMPS, "LARGE": _MOST_LARGE, "MATERIAL_TEXELS": MATERIAL_TEXELS}
    defines = "".join(f"#define {name} {number}\n" for name, number in numbers.items())

    program = GL.glCreateProgram()
    for name, kind in ((vertex, GL.GL_VERTEX_SHADER), (fragment, GL.GL_FRAGMENT_SHADER)):
        version, text = (_SHADERS / name).read_text().split("\n", 1)
        GL.glAttachShader(program, compileShader(f"{version}\n{defines}{text}", kind))
    GL.glLinkProgram(program)
    assert GL.glGetProgramiv(program, GL.GL_LINK_STATUS), GL.glGetProgramInfoLog(program)
    return program


@lru_cache(maxsize=1)
def open_graphics() -> Graphics:
    """The context that pyrender opens.

    Raises:
        UserError: there is no OpenGL without a display here.
    """
    if os.environ.setdefault("PYOPENGL_PLATFORM", "egl") == "egl":
        for library in ("libEGL.so.1", "libGL.so.1"):
            try:
                ctypes.CDLL(library)
            except OSError:
                raise UserError(f"there is no {library} here, {_HELP}") from None
    with silenced():
        import pyrender

        try:
            renderer = pyrender.OffscreenRenderer(1, 1)
        except Exception as error:  # PyOpenGL raises its own kinds, pyrender asserts
            raise UserError(f"OpenGL without a display does not work here ({error!r}), {_HELP}") from error
        return Graphics(renderer)


class silenced(warnings.catch_warnings):
    """Silences what pyrender and the PyOpenGL that it pins do against the advice of newer Pythons."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", DeprecationWarning)
