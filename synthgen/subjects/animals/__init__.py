"""Four-legged animals: rigged bases, the species that they are stretched into, coats and poses."""
