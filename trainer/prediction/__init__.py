"""Poses in the user's own images and video."""
