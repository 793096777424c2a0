"""The same scenes by the script that a Blender user would write, beside synthgen, in one sitting.

Both render the same people, poses, places, lights and cameras at the same size and samples per pixel with the denoiser,
and both give picture, depth and instance ids. The plain script builds each frame anew, leaves Cycles' other settings
as Blender ships them, gives each part one colour instead of a procedural material, and writes through the compositor;
labels, checks, metadata and shards it does not make at all. Geometry is counted on both sides.

python benchmarks/plain_blender.py                      # humans_dr at 256 x 256
python benchmarks/plain_blender.py --size 128 --frames 60
"""

import argparse
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from posecore.transforms import invert_rigid
from synthgen.blender.cycles import quiet_stdout
from synthgen.catalog import asset_path, load_library
from synthgen.generate import default_workers, render_dataset
from synthgen.recipe import Recipe, load_recipe
from synthgen.sampling.scene import sample_scene
from synthgen.scene import Material
from synthgen.stage import Stage, build_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="humans_dr")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    size = (f"image.width={options.size}", f"image.height={options.size}", "scenes_per_shard=5")
    recipe = load_recipe(options.recipe, (*size, f"count={options.frames}", "image.layers=[depth]"))
    load_library(recipe)
    plain = measure_plain(recipe)
    ours = measure_ours(recipe)
    print(f"{recipe.name}, {options.size} x {options.size}, {recipe.engine.samples} samples/pixel, denoised")
    print(f"plain script {plain:.2f} images/s, synthgen {ours:.2f} images/s: {ours / plain:.1f} times as fast")


def measure_ours(recipe: Recipe) -> float:
    """Images a second of the whole command, after its start."""
    marks: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        render_dataset(
            recipe,
            Path(folder) / "data",
            num_workers=default_workers(),
            resume=False,
            on_samples=lambda done, _: marks.append((time.monotonic(), done)),
        )
    return sum(done for _, done in marks[1:]) / (marks[-1][0] - marks[0][0])


def measure_plain(recipe: Recipe) -> float:
    """Images a second of the plain script, with all cores for Cycles' threads."""
    library = load_library(recipe)
    done, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for scene in range(recipe.num_scenes):
            stage = build_stage(sample_scene(recipe, scene, library.clip_durations_s), library)
            for frame in range(recipe.frames_per_scene):
                render_plainly(stage, frame, recipe, Path(folder) / f"{scene:04d}_{frame}")
                done += 1
    return done / (time.monotonic() - began)


def render_plainly(stage: Stage, frame: int, recipe: Recipe, path: Path) -> None:
    """One frame from an empty file: meshes, colours, lamps, environment, camera, compositor, render."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = recipe.engine.samples
    scene.cycles.use_denoising = True
    scene.render.resolution_x, scene.render.resolution_y = recipe.image.width, recipe.image.height
    for number, (spec, subject) in enumerate(zip(stage.spec.subjects, stage.subjects[frame], strict=True), start=1):
        mesh = bpy.data.meshes.new(f"subject {number}")
        mesh.from_pydata(subject.vertices.tolist(), [], [_corners(face) for face in subject.faces.tolist()])
        for part in subject.part_names:
            mesh.materials.append(_colour(part, spec.materials[part]))
        mesh.polygons.foreach_set("material_index", subject.face_parts.astype(np.int32))
        mesh.shade_smooth()
        holder = bpy.data.objects.new(mesh.name, mesh)
        holder.pass_index = number
        scene.collection.objects.link(holder)
    for thing in stage.things:
        mesh = bpy.data.meshes.new(thing.name)
        mesh.from_pydata(thing.vertices.tolist(), [], [_corners(face) for face in thing.faces.tolist()])
        mesh.materials.append(_colour(thing.name, thing.material))
        scene.collection.objects.link(bpy.data.objects.new(thing.name, mesh))
    for number, light in enumerate(stage.spec.lights):
        lamp = bpy.data.lights.new(f"lamp {number}", "SUN")
        lamp.energy = 3 * light.strength
        holder = bpy.data.objects.new(lamp.name, lamp)
        turn = (0, np.deg2rad(90 - light.elevation_deg), np.deg2rad(light.azimuth_deg - 90))
        holder.rotation_euler = turn
        scene.collection.objects.link(holder)
    _add_world(scene, stage)
    _add_camera(scene, stage)
    _add_outputs(scene, path)
    scene.render.filepath = str(path.with_suffix(".png"))
    with quiet_stdout():
        bpy.ops.render.render(write_still=True)


def _corners(face: list[int]) -> list[int]:
    return face[:3] if face[3] == face[2] else face


def _colour(name: str, material: Material) -> bpy.types.Material:
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*material.colours[0], 1)
    shader.inputs["Roughness"].default_value = material.roughness
    return made


def _add_world(scene: bpy.types.Scene, stage: Stage) -> None:
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    environment = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    environment.image = bpy.data.images.load(str(asset_path(stage.spec.world.hdri)))
    world.node_tree.links.new(environment.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    scene.world = world


def _add_camera(scene: bpy.types.Scene, stage: Stage) -> None:
    camera = stage.cameras[0]
    data = bpy.data.cameras.new("camera")
    data.lens = camera.K[0, 0] * data.sensor_width / max(camera.width, camera.height)
    holder = bpy.data.objects.new("camera", data)
    holder.matrix_world = Matrix((invert_rigid(camera.cam_from_world) @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist())
    scene.collection.objects.link(holder)
    scene.camera = holder


def _add_outputs(scene: bpy.types.Scene, path: Path) -> None:
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_object_index = True
    scene.use_nodes = True
    tree = scene.node_tree
    source = tree.nodes.new("CompositorNodeRLayers")
    composite = tree.nodes.new("CompositorNodeComposite")
    tree.links.new(source.outputs["Image"], composite.inputs["Image"])
    writer = tree.nodes.new("CompositorNodeOutputFile")
    writer.base_path = str(path.parent)
    writer.format.file_format = "OPEN_EXR"
    writer.file_slots.clear()
    for name in ("Depth", "IndexOB"):
        writer.file_slots.new(f"{path.name}_{name}_")
        tree.links.new(source.outputs[name], writer.inputs[-1])


if __name__ == "__main__":
    main()
