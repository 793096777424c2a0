"""What a dataset holds, counted in one pass: cameras, bodies, poses, visibility, colours; and how far two are apart.

Everything is a count of something in a bin of fixed width, so memory does not grow with the dataset and two datasets
can be compared bin by bin. Real, unlabelled datasets have the pictures' part only. Angles in degrees; cameras are
measured from the geometry itself, so any labelled dataset can be read, whatever its recipe.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from posecore.camera import Camera
from posecore.codec import decode, decode_real
from posecore.dataset import Manifest, iterate_dataset, read_manifest
from posecore.errors import UserError
from posecore.overlay import VISIBILITY_WORDS
from posecore.sample import Sample, Subject
from posecore.skeleton import load_skeleton
from posecore.viewpoint import camera_angles_deg, heading_deg
from synthgen.datasets.preview import draw_sample, fit_square

MOST_BINS = 40  # of a plot and of a comparison
FRAME_CELLS = 48  # of the maps over the picture, which reach half a picture beyond its edges
FRAME_REACH = 0.5
BODY_CELLS = 60
BODY_REACH_M = 1.5  # about the root, at the template's size
_EXAMPLES = 12
_EXAMPLE_PX = 180
_MOST_SWATCHES = 144  # of the first scenes
_PICTURE_PX = 128  # colours are counted on pictures made this small
_NOT_WORN = ("eyes", "iris", "lips", "mouth", "teeth", "tongue", "fur", "mane")  # fur and mane: their coat has colours


@dataclass(frozen=True)
class Quantity:
    """Something measured.

    Attributes:
        name: key in JSON. title: in words. group: section of the page.
        unit: for the axis. step: width of a counted bin.
        is_log: values are powers of two, counted by their exponent.
        period: of an angle that runs round, counted from `low`; 0 for others.
    """

    name: str
    title: str
    group: str
    unit: str
    step: float
    is_log: bool = False
    period: float = 0.0
    low: float = 0.0


_QUANTITIES = (
    Quantity(
        "azimuth_deg", "Azimuth about the subject", "camera", "degrees, 0 sees the face", 10, period=360, low=-180
    ),
    Quantity("elevation_deg", "Elevation above the subject", "camera", "degrees", 2.5),
    Quantity("roll_deg", "Roll", "camera", "degrees", 2.5),
    Quantity("fov_deg", "Field of view, shorter side", "camera", "degrees", 2.5),
    Quantity("distance_m", "Distance to the subject", "camera", "m", 0.25, is_log=True),
    Quantity("size_share", "Size in the picture", "subjects", "longer side of the box, of the picture", 0.025),
    Quantity("size_px", "Size in pixels", "subjects", "longer side of the box", 0.25, is_log=True),
    Quantity("occlusion", "Hidden by something else", "visibility", "share of the subject", 0.025),
    Quantity("truncation", "Cut off by the frame", "visibility", "share of the subject", 0.025),
    Quantity("elbow_deg", "Elbow, 0 is straight", "pose", "degrees", 5),
    Quantity("shoulder_deg", "Upper arm, 0 hangs down the trunk", "pose", "degrees", 5),
    Quantity("knee_deg", "Knee, 0 is straight", "pose", "degrees", 5),
    Quantity("hip_deg", "Thigh against the trunk, 0 is straight", "pose", "degrees", 5),
    Quantity("trunk_deg", "Trunk against upright", "pose", "degrees", 5),
    Quantity("front_elbow_deg", "Elbow, 0 is straight", "pose", "degrees", 5),
    Quantity("stifle_deg", "Stifle, 0 is straight", "pose", "degrees", 5),
    Quantity("hock_deg", "Hock, 0 is straight", "pose", "degrees", 5),
    Quantity("neck_deg", "Neck against the back, 0 is straight", "pose", "degrees", 5),
    Quantity("back_deg", "Back against upright", "pose", "degrees", 5),
    Quantity("brightness", "Mean brightness", "pictures", "0 black, 1 white", 0.02),
    Quantity("contrast", "Contrast within a picture", "pictures", "standard deviation", 0.01),
    Quantity("sharpness", "Sharpness", "pictures", "variance of the Laplacian", 0.5, is_log=True),
    Quantity("hue_deg", "Hue of all pixels", "pictures", "degrees, by chroma", 10, period=360),
    Quantity("saturation", "Saturation of all pixels", "pictures", "0 grey, 1 pure", 0.04),
    Quantity("lightness", "Lightness of all pixels", "pictures", "L* of 100", 4),
    Quantity("subject_lightness", "Lightness of the subject's pixels", "pictures", "L* of 100", 4),
)
QUANTITY_ORDER = tuple(quantity.name for quantity in _QUANTITIES)
_BY_NAME = {quantity.name: quantity for quantity in _QUANTITIES}
_PER_PICTURE = ("hue_deg", "saturation", "lightness", "subject_lightness")  # many pixels are one observation

# Angles between bones, at the middle one of three joints; the sides' joints without left_ or right_. `bent`: measured
# from a straight line, else from the first bone.
_JOINT_ANGLES = {
    "human": {
        "elbow_deg": ("shoulder", "elbow", "wrist", True),
        "shoulder_deg": ("hip", "shoulder", "elbow", False),
        "knee_deg": ("hip", "knee", "ankle", True),
        "hip_deg": ("shoulder", "hip", "knee", True),
    },
    "quadruped": {
        "front_elbow_deg": ("shoulder", "elbow", "front_paw", True),
        "stifle_deg": ("hip", "stifle", "hock", True),
        "hock_deg": ("stifle", "hock", "back_paw", True),
        "neck_deg": ("tail_root", "withers", "nose", True),
    },
}
_TRUNKS = {"human": ("trunk_deg", "pelvis", "neck"), "quadruped": ("back_deg", "tail_root", "withers")}


@dataclass
class Histogram:
    """Counts in bins of `quantity.step`, by bin number; how many observations they come from, and their range."""

    quantity: Quantity
    counts: Counter[int] = field(default_factory=Counter)
    observations: int = 0
    least: float = math.inf
    most: float = -math.inf

    def add(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Count values [N], NaN left out; as one observation if they are weighted or many of one picture."""
        values = np.asarray(values, dtype=np.float64).reshape(-1)
        known = np.isfinite(values)
        values = values[known]
        quantity = self.quantity
        if quantity.period:
            values = quantity.low + (values - quantity.low) % quantity.period
        if not len(values):
            return
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        if quantity.is_log:
            values = np.log2(np.maximum(values, 1e-9))
        numbers = np.floor(values / quantity.step + 1e-9).astype(int)
        if len(numbers) == 1:
            self.counts[int(numbers[0])] += 1
        else:
            first = numbers.min()
            masses = np.bincount(numbers - first, None if weights is None else weights[known])
            bins = np.flatnonzero(masses)
            self.counts.update(dict(zip((bins + first).tolist(), masses[bins].tolist(), strict=True)))
        self.observations += 1 if quantity.name in _PER_PICTURE else len(values)

    @property
    def total(self) -> float:
        return float(sum(self.counts.values()))

    def quantile(self, share: float) -> float:
        """The value below which a share of the mass lies, to half a bin, within what was seen."""
        bins = sorted(self.counts)
        reached = np.cumsum([self.counts[number] for number in bins])
        number = bins[min(int(np.searchsorted(reached, share * reached[-1])), len(bins) - 1)]
        if number == bins[0]:  # often a spike: nothing hidden, nothing cut off
            return self.least
        return self.most if number == bins[-1] else self._value(number + 0.5)

    @property
    def mean(self) -> float:
        return sum(self._value(number + 0.5) * mass for number, mass in self.counts.items()) / self.total

    def _value(self, position: float) -> float:
        value = position * self.quantity.step
        return 2.0**value if self.quantity.is_log else value


@dataclass
class DatasetStatistics:
    """What was counted of a dataset.

    Attributes:
        histograms: by quantity name, shape parameters as "shape_NAME"; absent where nothing was measured.
        categories: what -> name -> how often.
        maps: "frame" and "mask" over the picture [cells, cells], rows from the top; "front", "side": joints about the
            body, rows from the top; "sphere": cameras, rows by elevation from the top, columns by azimuth.
        visibility: skeleton -> [J, 4] counts of the levels 0..3.
        swatches: part of the body or clothes -> sRGB colours, 0..1, of some subjects.
        examples: a few pictures with their skeletons, [px, px, 3] uint8.
    """

    manifest: Manifest
    source: str
    num_samples: int = 0
    num_scenes: int = 0
    num_subjects: int = 0
    histograms: dict[str, Histogram] = field(default_factory=dict)
    categories: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    visibility: dict[str, np.ndarray] = field(default_factory=dict)
    swatches: dict[str, list[tuple[float, float, float]]] = field(default_factory=lambda: defaultdict(list))
    examples: list[np.ndarray] = field(default_factory=list)

    def histogram(self, name: str) -> Histogram:
        """The histogram of that quantity, made when first asked for."""
        if name not in self.histograms:
            self.histograms[name] = Histogram(_BY_NAME.get(name) or _shape_quantity(name))
        return self.histograms[name]


@dataclass(frozen=True)
class Distance:
    """How far two datasets are apart in one quantity.

    Attributes:
        value: total variation, the share of one that would have to change to give the other: 0 same .. 1 disjoint.
        by_chance: what two samples of these sizes from one distribution would show on average.
    """

    name: str
    title: str
    group: str
    value: float
    by_chance: float


def gather(data: str, on_sample: Callable[[], None] = lambda: None) -> DatasetStatistics:
    """Read a dataset through and count.

    Args:
        data: local folder or fsspec URL.

    Raises:
        UserError: no dataset there, an empty one, or a damaged shard.
    """
    manifest = read_manifest(data)
    if manifest.num_samples == 0:
        raise UserError(f"{data}: the dataset is empty")
    statistics = DatasetStatistics(manifest, str(data))
    step = max(1, manifest.num_samples // _EXAMPLES)
    groups: set[Any] = set()
    last_scene = None
    for number, (_, members) in enumerate(iterate_dataset(data)):
        is_example = number % step == 0 and len(statistics.examples) < _EXAMPLES
        if manifest.kind != "real":
            sample = decode(members, layers=("image", "mask"))
            _count_picture(statistics, sample.image, sample.mask)
            _count_sample(statistics, sample)
            if sample.scene != last_scene:
                last_scene = sample.scene
                statistics.num_scenes += 1
                _count_spec(statistics, sample.provenance)
            if is_example:
                statistics.examples.append(draw_sample(sample, _EXAMPLE_PX))
        else:
            frame = decode_real(members)
            _count_picture(statistics, frame.image, None)
            groups.add(frame.clip)
            statistics.num_scenes = len(groups)
            if is_example:
                statistics.examples.append(fit_square(frame.image, _EXAMPLE_PX)[0])
        statistics.num_samples += 1
        on_sample()
    return statistics


def binned(histogram: Histogram, other: Histogram | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Shares of one or two histograms in the same bins, at most MOST_BINS.

    Returns:
        Edges [B + 1] in the quantity's unit, shares [B], and shares [B] of the other or None.
    """
    quantity = histogram.quantity
    numbers = [*histogram.counts, *(other.counts if other else ())]
    if quantity.period:
        first = round(quantity.low / quantity.step)
        last = first + round(quantity.period / quantity.step) - 1
    else:
        first, last = min(numbers), max(numbers)
    merged = math.ceil((last - first + 1) / MOST_BINS)
    num_bins = math.ceil((last - first + 1) / merged)
    edges = (first + merged * np.arange(num_bins + 1)) * quantity.step
    shares = []
    for one in (histogram, other):
        if one is not None:
            masses = np.zeros(num_bins)
            for number, mass in one.counts.items():
                masses[(number - first) // merged] += mass
            shares.append(masses / max(masses.sum(), 1e-12))
    return (2.0**edges if quantity.is_log else edges), shares[0], shares[1] if other else None


def distances(first: DatasetStatistics, second: DatasetStatistics) -> list[Distance]:
    """Total variation in everything that both have and that varies, the largest beyond chance first."""
    found = []
    for name, histogram in first.histograms.items():
        other = second.histograms.get(name)
        if other is not None:
            _, p, q = binned(histogram, other)
            quantity = histogram.quantity
            sizes = histogram.observations, other.observations
            found.append(_distance(name, quantity.title, quantity.group, p, q, *sizes))
    for name in first.categories.keys() & second.categories.keys():
        counts = first.categories[name], second.categories[name]
        names = sorted(counts[0] | counts[1])
        p, q = (np.array([one[n] for n in names], dtype=float) / one.total() for one in counts)
        found.append(_distance(name, name, "categories", p, q, counts[0].total(), counts[1].total()))
    found = [distance for distance in found if distance.value > 0 or distance.by_chance > 0]
    return sorted(found, key=lambda distance: (distance.by_chance - distance.value, distance.name))


def to_json(statistics: DatasetStatistics) -> dict[str, Any]:
    """The numbers: for each quantity its count, mean, quantiles and histogram; categories; visibility by joint."""
    quantities = {}
    for name, histogram in statistics.histograms.items():
        edges, shares, _ = binned(histogram)
        quantities[name] = {
            "unit": histogram.quantity.unit,
            "observations": histogram.observations,
            "mean": histogram.mean,
            "least": histogram.least,
            "most": histogram.most,
            "quantiles": {f"{share:.2f}": histogram.quantile(share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)},
            "edges": edges.tolist(),
            "shares": shares.tolist(),
        }
    visibility = {}
    for name, counts in statistics.visibility.items():
        joints = load_skeleton(name).joints
        visibility[name] = {
            joint: {VISIBILITY_WORDS[level]: int(row[level]) for level in range(4)}
            for joint, row in zip(joints, counts, strict=True)
        }
    manifest = statistics.manifest
    return {
        "data": statistics.source,
        "name": manifest.name,
        "kind": manifest.kind,
        "samples": statistics.num_samples,
        "scenes": statistics.num_scenes,
        "subjects": statistics.num_subjects,
        "versions": manifest.versions,
        "rejects": manifest.rejects,
        "quantities": quantities,
        "categories": {name: dict(counts.most_common()) for name, counts in statistics.categories.items()},
        "visibility": visibility,
    }


def _shape_quantity(name: str) -> Quantity:
    plain = name.removeprefix("shape_")
    is_length = plain.endswith("_m")
    title = plain.removesuffix("_m").replace("_", " ").capitalize()
    return Quantity(name, title, "bodies", "m" if is_length else "", 0.002 if is_length else 0.05)


def _distance(
    name: str, title: str, group: str, p: np.ndarray, q: np.ndarray, num_first: int, num_second: int
) -> Distance:
    pooled = (p * num_first + q * num_second) / (num_first + num_second)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / num_first + 1 / num_second))
    return Distance(name, title, group, 0.5 * float(np.abs(p - q).sum()), float(spread.sum() / math.sqrt(2 * math.pi)))


def _count_picture(statistics: DatasetStatistics, image: np.ndarray, mask: np.ndarray | None) -> None:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    statistics.histogram("brightness").add(grey.mean() / 255)
    statistics.histogram("contrast").add(grey.std() / 255)
    statistics.histogram("sharpness").add(cv2.Laplacian(grey, cv2.CV_32F).var())
    scale = min(1.0, _PICTURE_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    hue, saturation, value = np.moveaxis(cv2.cvtColor(small, cv2.COLOR_RGB2HSV), -1, 0)
    lightness = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 0]
    statistics.histogram("hue_deg").add(hue, (saturation * value).ravel() + 1e-9)
    statistics.histogram("saturation").add(saturation)
    statistics.histogram("lightness").add(lightness)
    if mask is not None:
        seen = cv2.resize(mask, lightness.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        if seen.any():
            statistics.histogram("subject_lightness").add(lightness[seen])
        share = cv2.resize((mask > 0).astype(np.float32), (FRAME_CELLS, FRAME_CELLS), interpolation=cv2.INTER_AREA)
        statistics.maps["mask"] = statistics.maps.get("mask", 0) + share


def _count_sample(statistics: DatasetStatistics, sample: Sample) -> None:
    camera = sample.camera
    shorter = min(camera.width, camera.height)
    statistics.histogram("fov_deg").add(np.degrees(2 * np.arctan(shorter / 2 / camera.K[0, 0])))
    statistics.categories["subjects in a picture"][str(len(sample.subjects))] += 1
    right, down = camera.cam_from_world[0, :3], camera.cam_from_world[1, :3]
    statistics.histogram("roll_deg").add(np.degrees(np.arctan2(-right[2], -down[2])))
    for subject in sample.subjects:
        statistics.num_subjects += 1
        statistics.categories["species"][subject.species] += 1
        longer = subject.box_px[2:].max()
        if longer > 0:
            statistics.histogram("size_share").add(longer / shorter)
            statistics.histogram("size_px").add(longer)
        if subject.truncation < 1:  # of who is not in the frame nothing can be hidden
            statistics.histogram("occlusion").add(subject.occlusion)
        statistics.histogram("truncation").add(subject.truncation)
        for name, value in subject.shape.items():
            statistics.histogram(f"shape_{name}").add(value)
        _count_levels(statistics, subject)
        _count_pose(statistics, subject, camera)
        size = np.array([camera.width, camera.height])
        _count_points(statistics, "frame", subject.joints_px / size - 0.5, 0.5 + FRAME_REACH, FRAME_CELLS)


def _count_levels(statistics: DatasetStatistics, subject: Subject) -> None:
    levels = (subject.visibility[:, None] == np.arange(4)).astype(int)
    statistics.visibility[subject.skeleton] = statistics.visibility.get(subject.skeleton, 0) + levels


def _count_pose(statistics: DatasetStatistics, subject: Subject, camera: Camera) -> None:
    skeleton, joints = load_skeleton(subject.skeleton), subject.joints_world_m
    at = {name: joints[number] for number, name in enumerate(skeleton.joints)}
    for quantity, (first, middle, last, bent) in _JOINT_ANGLES[skeleton.name].items():
        for side in ("left_", "right_") if f"left_{middle}" in at else ("",):
            a, b, c = (at.get(side + name, at.get(name)) for name in (first, middle, last))
            angle = _angle_deg(a - b, c - b)
            statistics.histogram(quantity).add(180 - angle if bent else angle)
    quantity, low, high = _TRUNKS[skeleton.name]
    statistics.histogram(quantity).add(_angle_deg(at[high] - at[low], np.array([0, 0, 1.0])))

    root = skeleton.parents.index(-1)
    distance = np.linalg.norm(camera.position_world - joints[root])
    statistics.histogram("distance_m").add(float(distance))
    azimuth, elevation = camera_angles_deg(subject, camera)
    statistics.histogram("elevation_deg").add(elevation)
    if np.isnan(azimuth):
        return
    statistics.histogram("azimuth_deg").add(azimuth)
    sphere = statistics.maps.setdefault("sphere", np.zeros((18, 36)))
    sphere[min(17, int((90 - elevation) / 10)), min(35, int((azimuth + 180) / 10))] += 1

    heading = np.radians(heading_deg(subject))
    cosine, sine = np.cos(heading), np.sin(heading)
    unturned = (joints - joints[root]) @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    bones = [(joint, parent) for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    own, template = (sum(np.linalg.norm(p[a] - p[b]) for a, b in bones) for p in (joints, skeleton.rest_m))
    unturned = unturned * template / own
    _count_points(statistics, "front", unturned[:, [0, 2]] * [1, -1], BODY_REACH_M, BODY_CELLS)
    _count_points(statistics, "side", unturned[:, [1, 2]] * [1, -1], BODY_REACH_M, BODY_CELLS)


def _count_points(statistics: DatasetStatistics, name: str, points: np.ndarray, reach: float, cells: int) -> None:
    """Points [N, 2], x right, y down, within -reach..reach."""
    grid = statistics.maps.setdefault(name, np.zeros((cells, cells)))
    place = np.floor((points / reach + 1) / 2 * cells)
    place = place[((place >= 0) & (place < cells)).all(axis=1)].astype(int)
    np.add.at(grid, (place[:, 1], place[:, 0]), 1)


def _count_spec(statistics: DatasetStatistics, provenance: dict[str, Any]) -> None:
    """What a scene's spec tells and the labels do not: clips, clothes, colours, light."""
    spec = provenance.get("spec") or {}
    if "world" in spec:
        statistics.categories["light from"][str(spec["world"].get("hdri")).removeprefix("hdri/")] += 1
        statistics.categories["lamps"][str(len(spec.get("lights", ())))] += 1
    for frame in spec.get("frames", ()):
        for pose in frame.get("poses", ()):
            for kind in ("clip", "motion"):
                if isinstance(pose.get(kind), str):
                    statistics.categories[kind][pose[kind]] += 1
    for subject in spec.get("subjects", ()):
        for name, value in subject.get("wardrobe", {}).items():
            if isinstance(value, str):
                statistics.categories[name][value] += 1
        coat = subject.get("coat")
        if coat is not None:
            statistics.categories["markings of coats"][coat["markings"]["kind"]] += 1
            if len(statistics.swatches["coat"]) < _MOST_SWATCHES:
                statistics.swatches["coat"].append(tuple(coat["base"]))
        for part, material in subject.get("materials", {}).items():
            if part not in _NOT_WORN and len(statistics.swatches[part]) < _MOST_SWATCHES:
                statistics.swatches[part].append(tuple(material["colours"][0]))


def _angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    cosine = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
