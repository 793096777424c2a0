"""Procedural materials as Blender shader nodes.

Every pattern is laid out over the mesh attribute `place` (metres), so that it sticks to a body that moves; the
attribute `tint` and the painting, where a mesh has them, multiply the colour.
"""

import bpy

from synthgen.scene import Colour, Material

_MATT = 0.7  # roughness from which on no highlight is seen


def build_material(
    name: str,
    material: Material,
    image: bpy.types.Image | None = None,
    is_tinted: bool = False,
    painting: bpy.types.Image | None = None,
) -> bpy.types.Material:
    """A new Blender material.

    Args:
        image: the texture that `material.texture` names, laid out by the mesh's first UV map.
        is_tinted: whether the mesh has the attribute `tint`.
        painting: laid out by the mesh's UV map `painting`.
    """
    result = bpy.data.materials.new(name)
    result.use_nodes = True
    tree = result.node_tree
    shader = _new_shader(tree, material.roughness)
    base = shader.inputs[0]
    if is_tinted:
        base = _multiplied(tree, base, _new(tree, "ShaderNodeAttribute", attribute_name="tint").outputs["Color"])
    if painting is not None:
        base = _multiplied(tree, base, _painted(tree, painting))
    if material.sheen > 0:
        base = _multiplied(tree, base, _sheen(tree, material.sheen))
    if image is not None:
        _connect_texture(tree, base, image, material.colours[0])
        return result
    if material.pattern == "plain" and material.bump == 0:
        base.default_value = linear(material.colours[0])
        return result
    place = _new(tree, "ShaderNodeAttribute", attribute_name="place")
    mapping = _new(tree, "ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value = [angle * 0.017453292519943295 for angle in material.turn_deg]
    mapping.inputs["Scale"].default_value = [material.repeats_per_m] * 3
    tree.links.new(place.outputs["Vector"], mapping.inputs["Vector"])
    _connect_pattern(tree, base, mapping.outputs["Vector"], material)
    if material.bump > 0:
        _connect_bump(tree, shader, mapping.outputs["Vector"], material)
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


def _multiplied(
    tree: bpy.types.NodeTree, base: bpy.types.NodeSocket, factor: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """The socket whose colour, times the factor, is what `base` gets."""
    mix = _new(tree, "ShaderNodeMix", data_type="RGBA", blend_type="MULTIPLY")
    mix.inputs["Factor"].default_value = 1.0
    tree.links.new(factor, mix.inputs[7])
    tree.links.new(mix.outputs[2], base)
    return mix.inputs[6]


def _painted(tree: bpy.types.NodeTree, painting: bpy.types.Image) -> bpy.types.NodeSocket:
    places = _new(tree, "ShaderNodeUVMap", uv_map="painting")
    texture = _new(tree, "ShaderNodeTexImage", image=painting)
    tree.links.new(places.outputs["UV"], texture.inputs["Vector"])
    return texture.outputs["Color"]


def _sheen(tree: bpy.types.NodeTree, sheen: float) -> bpy.types.NodeSocket:
    """1 where the surface faces the eye, 1 + sheen where it turns away: hair that stands off catches light there."""
    weight = _new(tree, "ShaderNodeLayerWeight")
    weight.inputs["Blend"].default_value = 0.5
    cube = _new(tree, "ShaderNodeMath", operation="POWER")
    cube.inputs[1].default_value = 3.0
    factor = _new(tree, "ShaderNodeMath", operation="MULTIPLY_ADD")
    factor.inputs[1].default_value, factor.inputs[2].default_value = sheen, 1.0
    tree.links.new(weight.outputs["Facing"], cube.inputs[0])
    tree.links.new(cube.outputs[0], factor.inputs[0])
    return factor.outputs[0]


def _connect_pattern(
    tree: bpy.types.NodeTree, base: bpy.types.NodeSocket, place: bpy.types.NodeSocket, material: Material
) -> None:
    """Colour the socket `base` with the material's pattern over `place`, whose unit is one repeat."""
    first, second = (linear(colour) for colour in material.colours)
    match material.pattern:
        case "plain":
            base.default_value = first
        case "checker":
            texture = _texture(tree, place, "ShaderNodeTexChecker")
            texture.inputs["Color1"].default_value = first
            texture.inputs["Color2"].default_value = second
            tree.links.new(texture.outputs["Color"], base)
        case "bricks" | "tiles" | "planks":
            _connect_bricks(tree, base, place, material.pattern, first, second)
        case "noise":
            texture = _texture(tree, place, "ShaderNodeTexNoise")
            _ramp(tree, texture.outputs[0], [(0.35, first), (0.65, second)], base)
        case "freckles":
            texture = _texture(tree, place, "ShaderNodeTexNoise", Detail=1.0)
            _ramp(tree, texture.outputs[0], [(0.6, first), (0.7, second)], base)
        case "mottled" | "denim" | "grass":
            # many scales at once; grass has more contrast in the small ones
            texture = _texture(
                tree, place, "ShaderNodeTexNoise", Detail=4.0, Roughness=0.8 if material.pattern == "grass" else 0.6
            )
            _ramp(tree, texture.outputs[0], [(0.3, first), (0.72, second)], base)
        case "strands":
            thin = _new(tree, "ShaderNodeMapping")
            thin.inputs["Scale"].default_value = (1.0, 1.0, 0.07)
            tree.links.new(place, thin.inputs["Vector"])
            texture = _texture(tree, thin.outputs["Vector"], "ShaderNodeTexNoise")
            _ramp(tree, texture.outputs[0], [(0.35, first), (0.7, second)], base)
        case "camouflage":
            texture = _texture(tree, place, "ShaderNodeTexNoise", Detail=1.0)
            dark = tuple(0.3 * (a + b) / 2 for a, b in zip(first, second, strict=True))
            between = tuple((a + b) / 2 for a, b in zip(first, second, strict=True))
            stops = [(0.0, dark), (0.42, first), (0.5, second), (0.58, between)]
            _ramp(tree, texture.outputs[0], stops, base, interpolation="CONSTANT")
        case "cells":
            texture = _texture(tree, place, "ShaderNodeTexVoronoi")
            _ramp(tree, texture.outputs["Distance"], [(0.25, first), (0.45, second)], base)
        case "dots":
            texture = _texture(tree, place, "ShaderNodeTexVoronoi", Randomness=0.0)
            texture.voronoi_dimensions = "2D"
            _ramp(tree, texture.outputs["Distance"], [(0.24, second), (0.28, first)], base)
        case "plaid":
            across, along = (_texture(tree, place, "ShaderNodeTexWave", Scale=0.31) for _ in range(2))
            along.bands_direction = "Y"
            mean = _new(tree, "ShaderNodeMath", operation="MULTIPLY_ADD")
            half = _new(tree, "ShaderNodeMath", operation="MULTIPLY")
            mean.inputs[1].default_value = half.inputs[1].default_value = 0.5
            tree.links.new(_step(tree, along), half.inputs[0])
            tree.links.new(_step(tree, across), mean.inputs[0])
            tree.links.new(half.outputs[0], mean.inputs[2])
            _ramp(tree, mean.outputs[0], [(0.0, first), (1.0, second)], base)
        case "stripes" | "gradient" | "knit":
            # a wave has about 3.2 bands per unit; a gradient is one soft band over several
            texture = _texture(tree, place, "ShaderNodeTexWave", Scale=0.04 if material.pattern == "gradient" else 0.31)
            edges = (0.46, 0.54) if material.pattern == "stripes" else (0.0, 1.0)
            _ramp(tree, texture.outputs["Fac"], list(zip(edges, (first, second), strict=True)), base)


def _connect_bricks(
    tree: bpy.types.NodeTree,
    base: bpy.types.NodeSocket,
    place: bpy.types.NodeSocket,
    pattern: str,
    first: tuple[float, ...],
    second: tuple[float, ...],
) -> None:
    """Rows of bricks, square tiles, or long planks with thin gaps."""
    width, height, gap = {"bricks": (0.5, 0.25, 0.02), "tiles": (1.0, 1.0, 0.015), "planks": (1.0, 0.12, 0.003)}[
        pattern
    ]
    texture = _texture(tree, place, "ShaderNodeTexBrick")
    texture.offset = {"bricks": 0.5, "tiles": 0.0, "planks": 0.37}[pattern]
    texture.inputs["Brick Width"].default_value = width
    texture.inputs["Row Height"].default_value = height
    texture.inputs["Mortar Size"].default_value = gap
    texture.inputs["Color1"].default_value = first
    texture.inputs["Color2"].default_value = second
    texture.inputs["Mortar"].default_value = tuple((a + b) / 4 for a, b in zip(first, second, strict=True))
    tree.links.new(texture.outputs["Color"], base)


def _texture(tree: bpy.types.NodeTree, place: bpy.types.NodeSocket, kind: str, **inputs: float) -> bpy.types.Node:
    """A texture node over `place`, at scale 1 unless said otherwise; its inputs by name."""
    node = _new(tree, kind)
    for name, value in {"Scale": 1.0, **inputs}.items():
        node.inputs[name].default_value = value
    if kind == "ShaderNodeTexNoise" and "Detail" not in inputs:
        node.inputs["Detail"].default_value = 2.0
    tree.links.new(place, node.inputs["Vector"])
    return node


def _step(tree: bpy.types.NodeTree, wave: bpy.types.Node) -> bpy.types.NodeSocket:
    """0 or 1 on either side of the wave's middle, with a soft edge."""
    step = _new(tree, "ShaderNodeMapRange")
    step.inputs["From Min"].default_value, step.inputs["From Max"].default_value = 0.45, 0.55
    tree.links.new(wave.outputs["Fac"], step.inputs["Value"])
    return step.outputs[0]


def _ramp(
    tree: bpy.types.NodeTree,
    factor: bpy.types.NodeSocket,
    stops: list[tuple[float, tuple[float, ...]]],
    target: bpy.types.NodeSocket,
    interpolation: str = "LINEAR",
) -> None:
    """Colour the target by a factor through stops of (position, colour)."""
    ramp = _new(tree, "ShaderNodeValToRGB")
    ramp.color_ramp.interpolation = interpolation
    elements = ramp.color_ramp.elements
    while len(elements) < len(stops):
        elements.new(0.5)
    for element, (position, colour) in zip(elements, stops, strict=True):
        element.position, element.color = position, colour
    tree.links.new(factor, ramp.inputs["Fac"])
    tree.links.new(ramp.outputs["Color"], target)


def _connect_bump(
    tree: bpy.types.NodeTree, shader: bpy.types.Node, place: bpy.types.NodeSocket, material: Material
) -> None:
    """Relief: strands of hair and ribs of knitwear run one way, all else is grain."""
    match material.pattern:
        case "strands":
            thin = _new(tree, "ShaderNodeMapping")
            thin.inputs["Scale"].default_value = (1.0, 1.0, 0.07)
            tree.links.new(place, thin.inputs["Vector"])
            height = _texture(tree, thin.outputs["Vector"], "ShaderNodeTexNoise").outputs[0]
        case "knit":
            height = _texture(tree, place, "ShaderNodeTexWave", Scale=0.31).outputs["Fac"]
        case _:
            height = _texture(tree, place, "ShaderNodeTexNoise", Scale=4.0).outputs[0]
    bump = _new(tree, "ShaderNodeBump")
    bump.inputs["Strength"].default_value = material.bump
    bump.inputs["Distance"].default_value = 0.02
    tree.links.new(height, bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _connect_texture(
    tree: bpy.types.NodeTree, base: bpy.types.NodeSocket, image: bpy.types.Image, tint: Colour
) -> None:
    colour = _multiplied(tree, base, _new(tree, "ShaderNodeTexImage", image=image).outputs["Color"])
    colour.default_value = linear(tint)


def _new(tree: bpy.types.NodeTree, kind: str, **properties: object) -> bpy.types.Node:
    node = tree.nodes.new(kind)
    for name, value in properties.items():
        setattr(node, name, value)
    return node
