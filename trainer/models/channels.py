"""Which channel of the skeleton image each edge is drawn into: by what it belongs to, or dealt at random.

The random deal is a control: as many channels of the same sizes as the skeleton's own grouping, but without its
meaning. It follows from its seed alone, whatever versions of libraries there are, so a run's configuration is enough to
rebuild it.
"""

from __future__ import annotations

import hashlib

from posecore.skeleton import Skeleton
from trainer.config import SkeletonImageConfig


def channel_of_edges(drawn: SkeletonImageConfig, skeleton: Skeleton) -> tuple[int, ...]:
    """The channel of each of the skeleton's edges; every channel has one.

    Raises:
        UserError: the skeleton has no grouping into so many channels.
    """
    groups = skeleton.edge_groups(len(skeleton.edges) if drawn.channels == "edges" else drawn.channels)
    return groups if drawn.grouping == "semantic" else dealt(groups, drawn.grouping_seed)


def dealt(groups: tuple[int, ...], seed: int) -> tuple[int, ...]:
    """The same channels, each with as many edges as before, dealt out anew."""

    def draw(edge: int) -> bytes:
        return hashlib.blake2b(f"{seed} {edge}".encode(), digest_size=8).digest()

    shuffled = sorted(range(len(groups)), key=draw)
    return tuple(groups[edge] for edge in shuffled)
