"""The only place that imports bpy: a Stage becomes a Blender scene, Cycles renders it."""
