"""Smooth noise by hashing: the same values for the same places and seed on any machine.

Places [N, 3] are in units of the lattice: the noise varies over about one of them.
"""

import numpy as np

_PRIMES = (np.uint32(0x8DA6B343), np.uint32(0xD8163841), np.uint32(0xCB1AB31F))


def lattice(cell: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N] float32 0..1: a value for each whole place [N, 3]."""
    x, y, z = (axis * prime for axis, prime in zip(cell.astype(np.uint32).T, _PRIMES, strict=True))
    return _scrambled(x ^ y ^ z, seed)


def smooth_noise(place: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N] float32 0..1: values of the lattice, blended smoothly between whole places."""
    cell = np.floor(place).astype(int)
    within = (place - cell).astype(np.float32)
    high = np.ascontiguousarray((within * within * (3 - 2 * within)).T)
    low = 1 - high
    # the lattice's hash joins axes by exclusive or, each of which has but two whole places next to a place
    first = [axis * prime for axis, prime in zip(cell.astype(np.uint32).T, _PRIMES, strict=True)]
    x, y, z = ((axis, axis + prime) for axis, prime in zip(first, _PRIMES, strict=True))
    share_x, share_y, share_z = zip(low, high, strict=True)
    total = np.zeros(len(place), np.float32)
    for i, j in np.ndindex(2, 2):
        share, hashed = share_x[i] * share_y[j], x[i] ^ y[j]
        for k in (0, 1):
            total += share * share_z[k] * _scrambled(hashed ^ z[k], seed)
    return total


def two_scales(place: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N] float32 0..1: smooth noise with half as much of one twice as fine."""
    return (smooth_noise(place, seed) + 0.5 * smooth_noise(2 * place + 17.3, seed)) / 1.5


def _scrambled(hashed: np.ndarray, seed: int) -> np.ndarray:
    """[N] float32 0..1 of the places' hash [N] uint32."""
    h = hashed ^ np.uint32(seed * 0x9E3779B1 & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    h >>= np.uint32(8)
    return h.astype(np.float32) * np.float32(2**-24)
