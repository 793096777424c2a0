"""synthgen: domain-randomized humans and animals from Blender, with exact joints, as WebDataset shards."""
