"""Finding what moves in a shot of a still (or stilled) camera: one box a frame for each moving subject, with no
detector and no labels. Packing cuts clips by it, prediction finds its crops by it: a model meets what it was tuned on.

The background is each pixel's median over the shot; what differs from it is foreground. A person's trunk hardly
leaves its place and so passes for background, which tears the body into limbs: foreground is therefore gathered over
neighbouring frames and spread a little before its connected parts are taken as subjects and linked over time by
overlap. Boxes are [x, y, width, height] in pixels of the pictures given. All steps are deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_MAX_BACKGROUND_FRAMES = 60
_DIFFERENCE_FLOOR = 14.0  # grey levels: JPEG and sensor noise stay below this in ordinary footage
_PRESENCE = 0.06  # of the gathered, spread foreground (0..1): above it a pixel belongs to a subject
_MAX_GAP_FRAMES = 12  # a subject that stands still this long does not end its track
_MIN_RIVAL_ACTIVITY = 0.5  # of a livelier track at the same time; below it a track is a by-product


@dataclass(frozen=True)
class _Grain:
    """How coarsely foreground is taken together.

    Attributes:
        gather_frames: foreground within this many frames on either side counts as one movement.
        spread: Gaussian sigma, of the longer side; bridges the gap between a head and a raised arm.
        min_area: of the picture, after spreading; smaller regions are leaves, flicker and reflections.
    """

    gather_frames: int
    spread: float
    min_area: float


_COARSE = _Grain(gather_frames=8, spread=0.02, min_area=0.004)
_FINE = _Grain(gather_frames=1, spread=0.006, min_area=0.001)
_TRAVEL = 1.5  # own heights that a region's centre must cover to count as whole: what travels is in no background
_TRAVELLERS_SHARE = 0.8  # of a coarse track's foreground, from which on its travellers replace it


@dataclass(frozen=True)
class Track:
    """One subject through a shot.

    Attributes:
        frames: [n] int positions in the shot, rising without gaps.
        boxes: [n, 4] float.
        activity: mean foreground area a frame, as a fraction of the picture: the larger, the more of a subject.
    """

    frames: np.ndarray
    boxes: np.ndarray
    activity: float


def find_moving_subjects(pictures: np.ndarray, min_frames: int, reach: np.ndarray | None = None) -> list[Track]:
    """Track moving regions through a shot.

    Args:
        pictures: uint8 [T, H, W, 3], small (about 320 px) pictures of a camera that stands still.
        min_frames: shorter tracks are left out.
        reach: bool [T, H, W], where each picture lies on the canvas of a stabilised shot; None: everywhere.

    Returns:
        Tracks, the most active first; none if nothing moves. Shadows and reflections, which move with a subject but
        less than half as much, are left out.
    """
    masks = foreground_masks(pictures, reach)
    chains = _split_travellers(
        coarse=_join_parts(_link(_regions_by_frame(masks, _COARSE))), fine=_link(_regions_by_frame(masks, _FINE))
    )
    tracks = [_track_from_chain(_present(chain), masks[0].size) for chain in chains]
    tracks = sorted(
        (track for track in tracks if len(track.frames) >= min_frames),
        key=lambda track: (-track.activity * len(track.frames), int(track.frames[0]), *track.boxes[0]),
    )
    kept: list[Track] = []
    for track in tracks:
        rivals = [other for other in kept if _shared_frames(track, other) > 0.5 * len(track.frames)]
        if all(track.activity >= _MIN_RIVAL_ACTIVITY * rival.activity for rival in rivals):
            kept.append(track)
    return kept


def foreground_masks(pictures: np.ndarray, reach: np.ndarray | None = None) -> np.ndarray:
    """What differs from the shot's median picture: bool [T, H, W], cleaned of specks.

    The threshold is the larger of a floor and six times the typical (median) deviation of that pixel's neighbourhood,
    so that rustling leaves and flickering lamps need a larger change than a wall. An overall change of brightness is
    subtracted.
    """
    chosen = np.linspace(0, len(pictures) - 1, min(len(pictures), _MAX_BACKGROUND_FRAMES)).round().astype(int)
    sample = pictures[chosen].astype(np.float32)
    if reach is None:
        background = np.median(sample, axis=0)
        deviation = np.median(np.abs(sample - background), axis=0).max(axis=-1)
    else:
        seen = np.ma.array(sample, mask=np.repeat(~reach[chosen, :, :, None], 3, axis=-1))
        background = np.ma.median(seen, axis=0).filled(0)
        deviation = np.ma.median(np.abs(seen - background), axis=0).filled(255).max(axis=-1)
        # The rim of a picture is never aligned to the pixel.
        reach = np.stack([cv2.erode(one.astype(np.uint8), np.ones((5, 5), np.uint8)) for one in reach]).astype(bool)
    threshold = np.clip(6.0 * cv2.GaussianBlur(deviation, (0, 0), 2.0), _DIFFERENCE_FLOOR, 3 * _DIFFERENCE_FLOOR)
    masks = np.empty(pictures.shape[:3], dtype=bool)
    opening = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    for index, picture in enumerate(pictures):
        difference = picture.astype(np.float32) - background
        difference -= np.median(difference, axis=(0, 1))
        changed = (np.abs(difference).max(axis=-1) > threshold).astype(np.uint8)
        masks[index] = cv2.morphologyEx(changed, cv2.MORPH_OPEN, opening).astype(bool)
        if reach is not None:
            masks[index] &= reach[index]
    return masks


def union_box(boxes: np.ndarray) -> np.ndarray:
    """[n, 4] boxes -> the [4] box round all of them."""
    low = boxes[:, :2].min(axis=0)
    high = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return np.concatenate([low, high - low])


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two boxes [4], 0..1."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return float(shared / (np.prod(first[2:]) + np.prod(second[2:]) - shared))


@dataclass(frozen=True)
class _Region:
    frame: int
    box: np.ndarray
    area: float


def _regions_by_frame(masks: np.ndarray, grain: _Grain) -> list[list[_Region]]:
    """Connected parts of the gathered and spread foreground; a box is of the gathered foreground inside, not of its
    spread."""
    sigma = grain.spread * max(masks.shape[1:])
    totals = np.cumsum(masks, axis=0, dtype=np.int32)
    totals = np.concatenate([np.zeros_like(totals[:1]), totals])
    found = []
    for frame in range(len(masks)):
        first, last = max(0, frame - grain.gather_frames), min(len(masks), frame + grain.gather_frames + 1)
        gathered = (totals[last] - totals[first]).astype(np.float32) / (last - first)
        present = cv2.GaussianBlur(gathered, (0, 0), sigma) > _PRESENCE
        count, labels = cv2.connectedComponents(present.astype(np.uint8))
        moved = gathered > 0.1
        regions = []
        for label in range(1, count):
            inside = labels == label
            part = inside & moved
            if inside.sum() < grain.min_area * inside.size or not part.any():
                continue
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            regions.append(_Region(frame, np.array(box, dtype=np.float64), float((masks[frame] & inside).sum())))
        found.append(sorted(regions, key=lambda region: (-region.area, *region.box)))
    return found


def _link(found: list[list[_Region]]) -> list[list[_Region]]:
    """Chains of regions, one region a frame: pairs with the largest overlap are linked first."""
    chains: list[list[_Region]] = []
    for frame, regions in enumerate(found):
        live = [chain for chain in chains if frame - chain[-1].frame <= _MAX_GAP_FRAMES]
        pairs = [
            (-intersection_over_union(chain[-1].box, region.box), place, number)
            for place, chain in enumerate(live)
            for number, region in enumerate(regions)
        ]
        linked_chains, linked_regions = set(), set()
        for negative_overlap, place, number in sorted(pairs):
            if negative_overlap < -0.1 and place not in linked_chains and number not in linked_regions:
                live[place].append(regions[number])
                linked_chains.add(place)
                linked_regions.add(number)
        chains += [[region] for number, region in enumerate(regions) if number not in linked_regions]
    return chains


def _join_parts(chains: list[list[_Region]]) -> list[list[_Region]]:
    """Join chains that are parts of one body: for most of its life the smaller one lies close to, or in, the larger
    one."""
    chains = sorted(chains, key=lambda chain: (-sum(region.area for region in chain), chain[0].frame))
    joined: list[dict[int, _Region]] = []
    for chain in chains:
        for whole in joined:
            shared = [region for region in chain if region.frame in whole]
            close = [region for region in shared if _lies_close(region.box, whole[region.frame].box)]
            if len(close) > 0.6 * len(chain):
                for region in shared:
                    union = union_box(np.stack([region.box, whole[region.frame].box]))
                    whole[region.frame] = _Region(region.frame, union, region.area + whole[region.frame].area)
                break
        else:
            joined.append({region.frame: region for region in chain})
    return [[whole[frame] for frame in sorted(whole)] for whole in joined]


def _split_travellers(coarse: list[list[_Region]], fine: list[list[_Region]]) -> list[list[_Region]]:
    """Put the single walkers of a group in place of the group.

    Coarse regions hold torn bodies together, and people who pass close by each other as well. The two are told apart
    by
    travel: what crosses the picture leaves no trace in the median, so its fine region is the whole of it.
    """
    travellers = [chain for chain in fine if _travels(chain)]
    owners = [_owner(chain, coarse) for chain in travellers]
    result = []
    for place, whole in enumerate(coarse):
        own = [chain for chain, owner in zip(travellers, owners, strict=True) if owner == place]
        share = sum(region.area for chain in own for region in chain) / max(sum(region.area for region in whole), 1.0)
        result += own if share >= _TRAVELLERS_SHARE else [whole]
    return result


def _travels(chain: list[_Region]) -> bool:
    centres = np.array([region.box[:2] + region.box[2:] / 2 for region in chain])
    height = float(np.median([region.box[3] for region in chain]))
    return float(np.ptp(centres, axis=0).max()) >= _TRAVEL * height


def _owner(chain: list[_Region], coarse: list[list[_Region]]) -> int | None:
    """The coarse chain in whose boxes the chain's centres lie most often."""
    centres = {region.frame: region.box[:2] + region.box[2:] / 2 for region in chain}
    counts = [
        sum(
            region.frame in centres and bool(np.all(np.abs(region.box[:2] + region.box[2:] / 2 - centres[region.frame])
                                                    <= region.box[2:] / 2))
            for region in whole
        )
        for whole in coarse
    ]  # fmt: skip
    return int(np.argmax(counts)) if any(counts) else None


def _present(chain: list[_Region]) -> list[_Region]:
    """The chain without its ends that only neighbouring frames' movement put there: nobody has come yet, or is left."""
    areas = np.array([region.area for region in chain])
    there = np.flatnonzero(areas >= 0.1 * np.median(areas))
    return chain[there[0] : there[-1] + 1]


def _track_from_chain(chain: list[_Region], picture_area: float) -> Track:
    frames = np.arange(chain[0].frame, chain[-1].frame + 1)
    known = np.array([region.frame for region in chain])
    corners = np.array([[*region.box[:2], *(region.box[:2] + region.box[2:])] for region in chain])
    filled = np.stack([np.interp(frames, known, corners[:, side]) for side in range(4)], axis=1)
    boxes = np.concatenate([filled[:, :2], filled[:, 2:] - filled[:, :2]], axis=1)
    return Track(frames, boxes, sum(region.area for region in chain) / (len(frames) * picture_area))


def _shared_frames(first: Track, second: Track) -> int:
    return max(0, min(first.frames[-1], second.frames[-1]) - max(first.frames[0], second.frames[0]) + 1)


def _lies_close(part: np.ndarray, whole: np.ndarray) -> bool:
    """Whether most of `part` lies within `whole` grown by a fifth of its longer side, as a torn-off limb does."""
    reach = 0.2 * whole[2:].max()
    low = np.maximum(part[:2], whole[:2] - reach)
    high = np.minimum(part[:2] + part[2:], whole[:2] + whole[2:] + reach)
    return bool(np.prod(np.maximum(high - low, 0)) > 0.6 * np.prod(part[2:]))
