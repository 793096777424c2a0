"""Smooth noise by hashing: the same values for the same places and seed on any machine.

Places [N, 3] are in units of the lattice: the noise varies over about one of them.
"""

import numpy as np


def lattice(cell: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N] float32 0..1: a value for each whole place [N, 3]."""
    x, y, z = cell.astype(np.uint32).T
    h = (
        x * np.uint32(0x8DA6B343)
        ^ y * np.uint32(0xD8163841)
        ^ z * np.uint32(0xCB1AB31F)
        ^ np.uint32(seed * 0x9E3779B1 & 0xFFFFFFFF)
    )
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
    return ((h ^ (h >> np.uint32(15))) >> np.uint32(8)).astype(np.float32) / np.float32(2**24)


def smooth_noise(place: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N] float32 0..1: values of the lattice, blended smoothly between whole places."""
    cell = np.floor(place).astype(int)
    within = (place - cell).astype(np.float32)
    x, y, z = (within * within * (3 - 2 * within)).T
    total = np.zeros(len(place), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = (x if corner[0] else 1 - x) * (y if corner[1] else 1 - y) * (z if corner[2] else 1 - z)
        total += weight * lattice(cell + corner, seed)
    return total


def two_scales(place: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N] float32 0..1: smooth noise with half as much of one twice as fine."""
    return (smooth_noise(place, seed) + 0.5 * smooth_noise(2 * place + 17.3, seed)) / 1.5
