"""The Cycles and Eevee engines: one Blender scene per process, its content replaced for each stage.

Settings come from measurements (DECISIONS.md): a small world importance map and the fast denoiser prefilter are what
make small frames cheap; persistent data stays off, since it renders stale textures. Blender's camera looks along -z
with y up; ours (OpenCV) is turned by half a turn about x.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import bpy
import numpy as np
from mathutils import Matrix

from posecore.errors import UserError
from posecore.transforms import invert_rigid
from synthgen.backdrop import lay_behind
from synthgen.blender.materials import build_material, linear
from synthgen.engines.surfaces import cast, gather_surfaces, shading_normals, to_passes
from synthgen.renderer import Passes, RenderSettings
from synthgen.scene import LightSpec, Material
from synthgen.stage import Stage
from synthgen.subjects.posed import PosedSubject

_SUN_W_PER_M2 = 3.0  # irradiance of LightSpec.strength 1; with the HDRIs' own level it reads as a sunny day
_SENSOR_MM = 36.0
_NO_DEPTH = 1e9  # Blender writes 1e10 where there is nothing
# What an attribute's values are called in Blender, and their type in memory.
_FIELDS = {
    "FLOAT_VECTOR": ("vector", np.float32),
    "FLOAT_COLOR": ("color", np.float32),
    "INT": ("value", np.int32),
    "BOOLEAN": ("value", bool),
}
_GPU_TYPES = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")


class BlenderRenderer:
    """Renders stages with Cycles or Eevee; see `Renderer`.

    Eevee has no passes of object and material numbers; beside its picture, the passes are those of rays.

    Args:
        name: the engine.
        asset_path: gives the file of an image asset (environment map, texture) by its id.
        threads: CPU threads; 0 takes all cores.
    """

    version = bpy.app.version_string

    def __init__(
        self,
        name: Literal["cycles", "eevee"],
        settings: RenderSettings,
        asset_path: Callable[[str], Path],
        threads: int = 0,
    ) -> None:
        self.name = name
        self._asset_path = asset_path
        self._stage: Stage | None = None
        self._meshes: list[bpy.types.Mesh] = []
        self._images: dict[str, bpy.types.Image] = {}
        # /dev/shm keeps the passes in memory where the system has it
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(prefix="synthgen-", dir=memory if memory.is_dir() else None)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        _configure(self._scene, threads)
        match name:
            case "cycles":
                _configure_cycles(self._scene, settings)
            case "eevee":
                _configure_eevee(self._scene, settings)
        self._camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        self._scene.collection.objects.link(self._camera)
        self._scene.camera = self._camera
        self._scene.world = _new_world()

    def set_stage(self, stage: Stage) -> None:
        self._clear()
        self._stage = stage
        spec = stage.spec
        render = self._scene.render
        render.resolution_x, render.resolution_y = spec.width, spec.height
        self._scene.cycles.seed = (spec.seed * 1_000_003 + spec.scene) % 2**31
        for number, (subject, first) in enumerate(zip(spec.subjects, stage.subjects[0], strict=True)):
            self._meshes.append(self._add_subject(f"subject-{number + 1}", first, subject.materials, number + 1))
        for thing in stage.things:
            place = thing.vertices if thing.place is None else thing.place
            mesh = _new_mesh(thing.name, thing.vertices, thing.faces, place, thing.smooth)
            mesh.materials.append(self._material(thing.name, thing.material))
            self._link(bpy.data.objects.new(thing.name, mesh))
        centre = np.concatenate([s.vertices for s in stage.subjects[0]]).mean(axis=0)
        for number, light in enumerate(spec.lights):
            self._link(_new_light(f"light-{number}", light, centre))
        nodes = self._scene.world.node_tree.nodes
        nodes["environment"].image = self._image(spec.world.hdri)
        nodes["mapping"].inputs["Rotation"].default_value[2] = np.deg2rad(spec.world.turn_deg)
        nodes["Background"].inputs["Strength"].default_value = spec.world.strength

    def render(self, frame: int, view: int) -> Passes:
        assert self._stage is not None
        for mesh, subject in zip(self._meshes, self._stage.subjects[frame], strict=True):
            # by this name, Blender hears that triangles and normals are to be found anew
            mesh.vertices.foreach_set("co", np.ascontiguousarray(subject.vertices, dtype=np.float32).ravel())
            mesh.update()
        camera = self._stage.cameras[view]
        self._camera.data.lens = camera.K[0, 0] * _SENSOR_MM / max(camera.width, camera.height)
        blender_camera = invert_rigid(camera.cam_from_world) @ np.diag([1.0, -1.0, -1.0, 1.0])
        self._camera.matrix_world = Matrix(blender_camera.tolist())
        self._scene.render.film_transparent = self._has_photo(view)
        path = Path(self._folder.name) / "passes.exr"
        self._scene.render.filepath = str(path)
        with quiet_stdout():
            bpy.ops.render.render(write_still=True)
        if self.name == "eevee":
            surfaces = gather_surfaces(self._stage, frame)
            seen = cast(surfaces, camera)
            radiance = _stack(_read_layers(path), "Combined", "RGB")
            normals = shading_normals(surfaces, seen)
            return to_passes(surfaces.covering, seen.triangle, seen.depth_m, normals, radiance)
        return self._before_photo(_read_passes(path), path) if self._has_photo(view) else _read_passes(path)

    def _has_photo(self, view: int) -> bool:
        return view == 0 and self._stage.spec.world.photo is not None

    def _before_photo(self, passes: Passes, path: Path) -> Passes:
        coverage = np.clip(_read_layers(path)["Combined.A"], 0, 1)
        photo = self._asset_path(self._stage.spec.world.photo)
        return replace(passes, radiance=lay_behind(passes.radiance, coverage, passes.instances > 0, photo))

    def close(self) -> None:
        self._folder.cleanup()

    def _clear(self) -> None:
        """Remove what the last stage added; camera, world and loaded images stay."""
        self._meshes.clear()
        objects = [o for o in bpy.data.objects if o is not self._camera]
        lights, meshes, materials = list(bpy.data.lights), list(bpy.data.meshes), list(bpy.data.materials)
        paintings = [image for image in bpy.data.images if image.source == "GENERATED"]
        bpy.data.batch_remove([*objects, *lights, *meshes, *materials, *paintings])

    def _add_subject(
        self, name: str, subject: PosedSubject, materials: dict[str, Material], instance: int
    ) -> bpy.types.Mesh:
        place = subject.rest if subject.place is None else subject.place
        mesh = _new_mesh(name, subject.vertices, subject.faces, place, smooth=True)
        if subject.tint is not None:
            tint = np.concatenate([subject.tint, np.ones((len(subject.tint), 1), np.float32)], axis=1)
            _write(mesh, "tint", "FLOAT_COLOR", "POINT", tint)
        painting = None if subject.painting is None else _new_image(name, subject.painting.image)
        shown = set(np.unique(subject.face_parts).tolist())
        for index, part in enumerate(subject.part_names):
            if index not in shown:  # its slot must stay, for the slots' numbers are the parts'
                mesh.materials.append(None)
                continue
            is_tinted = subject.tint is not None
            material = self._material(f"{name}-{part}", materials[part], is_tinted, painting)
            material.pass_index = index + 1
            mesh.materials.append(material)
        _write(mesh, "material_index", "INT", "FACE", subject.face_parts)
        painted_uv = None if subject.painting is None else subject.painting.uv
        for layer_name, uv in (("uv", subject.uv), ("painting", painted_uv)):
            if uv is not None:
                layer = mesh.uv_layers.new(name=layer_name)
                corners = np.ascontiguousarray(uv[_corner_mask(subject.faces)], dtype=np.float32)
                layer.uv.foreach_set("vector", corners.ravel())
        holder = bpy.data.objects.new(name, mesh)
        holder.pass_index = instance
        self._link(holder)
        return mesh

    def _material(
        self, name: str, material: Material, is_tinted: bool = False, painting: bpy.types.Image | None = None
    ) -> bpy.types.Material:
        texture = self._image(material.texture) if material.texture else None
        return build_material(name, material, texture, is_tinted, painting)

    def _image(self, asset: str) -> bpy.types.Image:
        if asset not in self._images:
            self._images[asset] = bpy.data.images.load(str(self._asset_path(asset)))
        return self._images[asset]

    def _link(self, holder: bpy.types.Object) -> None:
        self._scene.collection.objects.link(holder)


def _configure(scene: bpy.types.Scene, threads: int) -> None:
    render = scene.render
    render.use_persistent_data = False
    render.threads_mode = "FIXED"
    render.threads = threads or os.cpu_count() or 1
    render.resolution_percentage = 100
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.image_settings.color_depth = "32"
    render.image_settings.exr_codec = "NONE"


def _configure_cycles(scene: bpy.types.Scene, settings: RenderSettings) -> None:
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "GPU" if _use_gpu(settings.device) else "CPU"
    cycles.samples = settings.samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = settings.denoise
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    cycles.denoising_quality = "FAST"
    cycles.use_light_tree = False  # pays with many lamps only
    cycles.max_bounces = settings.bounces
    cycles.caustics_reflective = cycles.caustics_refractive = False
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_material_index = layer.use_pass_normal = True


def _configure_eevee(scene: bpy.types.Scene, settings: RenderSettings) -> None:
    scene.render.engine = "BLENDER_EEVEE_NEXT"
    scene.eevee.taa_render_samples = settings.samples
    scene.eevee.use_raytracing = False  # of reflections on the screen, which matt surfaces have none of


def _use_gpu(device: str) -> bool:
    """Whether to render on a GPU; enables every GPU of the first type that Blender finds.

    Raises:
        UserError: the recipe asks for a GPU and there is none.
    """
    if device == "cpu":
        return False
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in _GPU_TYPES:
        try:
            preferences.compute_device_type = kind
        except TypeError:
            continue  # this build of Blender does not know that type
        found = [item for item in preferences.get_devices_for_type(kind) if item.type == kind]
        if found:
            for item in preferences.devices:
                item.use = item.type == kind
            return True
    if device == "gpu":
        raise UserError("engine.device: gpu was asked for, but Blender finds none here; use auto or cpu")
    return False


def _new_world() -> bpy.types.World:
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 256
    tree = world.node_tree
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    mapping = tree.nodes.new("ShaderNodeMapping")
    mapping.name = "mapping"
    environment = tree.nodes.new("ShaderNodeTexEnvironment")
    environment.name = "environment"
    tree.links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
    tree.links.new(environment.outputs["Color"], tree.nodes["Background"].inputs["Color"])
    return world


def _new_mesh(name: str, vertices: np.ndarray, faces: np.ndarray, place: np.ndarray, smooth: bool) -> bpy.types.Mesh:
    corner_mask = _corner_mask(faces)
    corners = faces[corner_mask]
    starts = np.concatenate([[0], np.cumsum(corner_mask.sum(axis=1))[:-1]])
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.loops.add(len(corners))
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", starts.astype(np.int32))
    _write(mesh, "position", "FLOAT_VECTOR", "POINT", vertices)
    _write(mesh, ".corner_vert", "INT", "CORNER", corners)
    _write(mesh, "sharp_face", "BOOLEAN", "FACE", np.full(len(faces), not smooth))
    _write(mesh, "place", "FLOAT_VECTOR", "POINT", place)
    mesh.update(calc_edges=True)
    return mesh


def _write(mesh: bpy.types.Mesh, name: str, kind: str, domain: str, values: np.ndarray) -> None:
    """Set an attribute, which is made if the mesh has none of that name.

    That copies arrays whole; Blender's own names for the same data, such as `polygons` and `material_index`, go one by
    one. On a mesh that was rendered before, what follows from its positions would stay as it was.
    """
    field, dtype = _FIELDS[kind]
    attribute = mesh.attributes.get(name) or mesh.attributes.new(name, kind, domain)
    attribute.data.foreach_set(field, np.ascontiguousarray(values, dtype=dtype).ravel())


def _new_image(name: str, linear_colours: np.ndarray) -> bpy.types.Image:
    """An image of linear colours [H, W, 3], the top row first."""
    height, width = linear_colours.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=True)
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = linear_colours[::-1]
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    return image


def _corner_mask(faces: np.ndarray) -> np.ndarray:
    """[F, 4] bool: the corners that count; a triangle repeats its last index."""
    mask = np.ones(faces.shape, dtype=bool)
    mask[:, 3] = faces[:, 3] != faces[:, 2]
    return mask


def _new_light(name: str, spec: LightSpec, centre: np.ndarray) -> bpy.types.Object:
    azimuth, elevation = np.deg2rad(spec.azimuth_deg), np.deg2rad(spec.elevation_deg)
    direction = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    light = bpy.data.lights.new(name, spec.kind.upper())
    light.color = linear(spec.colour)[:3]
    irradiance = _SUN_W_PER_M2 * spec.strength
    if spec.kind == "sun":
        light.energy = irradiance
        light.angle = float(np.arctan2(spec.size_m, spec.distance_m))
    elif spec.kind == "area":
        light.size = spec.size_m
        light.energy = irradiance * np.pi * spec.distance_m**2  # a Lambertian emitter, on its axis
    else:
        light.shadow_soft_size = spec.size_m / 2
        light.energy = irradiance * 4 * np.pi * spec.distance_m**2
    holder = bpy.data.objects.new(name, light)
    z = direction
    x = np.cross([0.0, 0.0, 1.0], z)
    x = x / np.linalg.norm(x) if np.linalg.norm(x) > 1e-6 else np.array([1.0, 0.0, 0.0])
    transform = np.eye(4)
    transform[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)  # lamps shine along their -z
    transform[:3, 3] = centre + spec.distance_m * direction
    holder.matrix_world = Matrix(transform.tolist())
    return holder


def _read_passes(path: Path) -> Passes:
    layers = _read_layers(path)
    depth_m = layers["Depth.Z"] if "Depth.Z" in layers else layers["Depth.V"]
    return Passes(
        radiance=_stack(layers, "Combined", "RGB"),
        instances=np.rint(layers["IndexOB.X"]).astype(np.uint8),
        depth_m=np.where(depth_m < _NO_DEPTH, depth_m, np.inf).astype(np.float32),
        parts=np.rint(layers["IndexMA.X"]).astype(np.uint8),
        normals=_stack(layers, "Normal", "XYZ"),
    )


def _read_layers(path: Path) -> dict[str, np.ndarray]:
    """Channels [H, W] float32 of what Blender wrote, such as "Combined.R"."""
    oiio = _open_image_io()
    file = oiio.ImageInput.open(str(path))
    if file is None:
        raise OSError(f"{path}: Blender wrote no readable passes ({oiio.geterror()})")
    names = file.spec().channelnames
    pixels = file.read_image(oiio.FLOAT)
    file.close()
    return {name.split(".", 1)[1]: pixels[..., index] for index, name in enumerate(names) if "." in name}


def _stack(layers: dict[str, np.ndarray], name: str, channels: str) -> np.ndarray:
    return np.stack([layers[f"{name}.{channel}"] for channel in channels], axis=-1)


def _open_image_io():
    """OpenImageIO as the bpy wheel bundles it (there is none of that name on its own path)."""
    bundled = Path(bpy.utils.resource_path("LOCAL"))
    folder = bundled / "python" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    import OpenImageIO

    return OpenImageIO


class quiet_stdout:
    """Keeps Blender's own prints off the terminal: they come from C and know nothing of sys.stdout."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        self._saved = os.dup(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 1)
        os.close(self._saved)
