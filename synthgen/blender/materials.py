"""Procedural materials as Blender shader nodes.

Every pattern is laid out over the mesh attribute `rest` (metres), so that it sticks to a body that moves.
"""

import bpy

from synthgen.scene import Colour, Material

_MATT = 0.7  # roughness from which on no highlight is seen


def build_material(name: str, material: Material, image: bpy.types.Image | None = None) -> bpy.types.Material:
    """A new Blender material.

    Args:
        image: the texture that `material.texture` names, laid out by the mesh's first UV map.
    """
    result = bpy.data.materials.new(name)
    result.use_nodes = True
    tree = result.node_tree
    shader = _new_shader(tree, material.roughness)
    if image is not None:
        _connect_texture(tree, shader, image, material.colours[0])
        return result
    rest = _new(tree, "ShaderNodeAttribute", attribute_name="rest")
    mapping = _new(tree, "ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = [angle * 0.017453292519943295 for angle in material.turn_deg]
    mapping.inputs["Scale"].default_value = [material.repeats_per_m] * 3
    tree.links.new(rest.outputs["Vector"], mapping.inputs["Vector"])
    _connect_pattern(tree, shader, mapping.outputs["Vector"], material)
    if material.bump > 0:
        _connect_bump(tree, shader, mapping.outputs["Vector"], material.bump)
    return result


def linear(colour: Colour) -> tuple[float, float, float, float]:
    """sRGB 0..1 to linear RGBA (IEC 61966-2-1)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return (*channels, 1.0)


def _new_shader(tree: bpy.types.NodeTree, roughness: float) -> bpy.types.Node:
    """The surface shader, its colour the first input. Matt surfaces are plain Lambert, a third cheaper to render."""
    principled = tree.nodes["Principled BSDF"]
    if roughness < _MATT:
        principled.inputs["Roughness"].default_value = roughness
        return principled
    diffuse = _new(tree, "ShaderNodeBsdfDiffuse")
    tree.links.new(diffuse.outputs["BSDF"], tree.nodes["Material Output"].inputs["Surface"])
    tree.nodes.remove(principled)
    return diffuse


def _connect_pattern(
    tree: bpy.types.NodeTree, shader: bpy.types.Node, place: bpy.types.NodeSocket, material: Material
) -> None:
    first, second = (linear(colour) for colour in material.colours)
    base = shader.inputs[0]
    match material.pattern:
        case "plain":
            base.default_value = first
        case "checker" | "bricks":
            kind = "ShaderNodeTexChecker" if material.pattern == "checker" else "ShaderNodeTexBrick"
            texture = _new(tree, kind)
            texture.inputs["Scale"].default_value = 1.0
            texture.inputs["Color1"].default_value = first
            texture.inputs["Color2"].default_value = second
            if material.pattern == "bricks":
                texture.inputs["Mortar"].default_value = tuple((a + b) / 4 for a, b in zip(first, second, strict=True))
            tree.links.new(place, texture.inputs["Vector"])
            tree.links.new(texture.outputs["Color"], base)
        case "noise":
            texture = _new(tree, "ShaderNodeTexNoise")
            texture.inputs["Scale"].default_value = 1.0
            _mix(tree, place, texture, texture.outputs[0], (0.35, 0.65), first, second, base)
        case "cells":
            texture = _new(tree, "ShaderNodeTexVoronoi")
            texture.inputs["Scale"].default_value = 1.0
            _mix(tree, place, texture, texture.outputs["Distance"], (0.25, 0.45), first, second, base)
        case "stripes" | "gradient":
            texture = _new(tree, "ShaderNodeTexWave")
            # a wave has about 3.2 bands per unit; a gradient is one soft band over several
            texture.inputs["Scale"].default_value = 0.31 if material.pattern == "stripes" else 0.04
            edges = (0.46, 0.54) if material.pattern == "stripes" else (0.0, 1.0)
            _mix(tree, place, texture, texture.outputs["Fac"], edges, first, second, base)


def _mix(
    tree: bpy.types.NodeTree,
    place: bpy.types.NodeSocket,
    texture: bpy.types.Node,
    factor: bpy.types.NodeSocket,
    edges: tuple[float, float],
    first: tuple[float, ...],
    second: tuple[float, ...],
    target: bpy.types.NodeSocket,
) -> None:
    """Colour from first to second as the texture's factor goes from one edge to the other."""
    tree.links.new(place, texture.inputs["Vector"])
    ramp = _new(tree, "ShaderNodeValToRGB")
    start, end = ramp.color_ramp.elements
    start.position, end.position = edges
    start.color, end.color = first, second
    tree.links.new(factor, ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], target)


def _connect_bump(
    tree: bpy.types.NodeTree, shader: bpy.types.Node, place: bpy.types.NodeSocket, strength: float
) -> None:
    noise = _new(tree, "ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = 4.0
    bump = _new(tree, "ShaderNodeBump")
    bump.inputs["Strength"].default_value = strength
    bump.inputs["Distance"].default_value = 0.02
    tree.links.new(place, noise.inputs["Vector"])
    tree.links.new(noise.outputs[0], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _connect_texture(tree: bpy.types.NodeTree, shader: bpy.types.Node, image: bpy.types.Image, tint: Colour) -> None:
    texture = _new(tree, "ShaderNodeTexImage", image=image)
    mix = _new(tree, "ShaderNodeMix", data_type="RGBA", blend_type="MULTIPLY")
    mix.inputs["Factor"].default_value = 1.0
    tree.links.new(texture.outputs["Color"], mix.inputs[6])
    mix.inputs[7].default_value = linear(tint)
    tree.links.new(mix.outputs[2], shader.inputs[0])


def _new(tree: bpy.types.NodeTree, kind: str, **properties: object) -> bpy.types.Node:
    node = tree.nodes.new(kind)
    for name, value in properties.items():
        setattr(node, name, value)
    return node
