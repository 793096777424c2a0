"""One HTML page about a dataset, or about two beside each other: plots of everything that dataset_statistics counts.

The page is a single file that works offline. Every plot shows shares, so datasets of different sizes compare; what a
dataset does not have (labels of real footage) is left out. The first dataset is blue, the second orange.
"""

import colorsys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from posecore.dataset import write_atomically
from posecore.figures import INK, SERIES, clean, jpeg_url, style, stylesheet, svg
from posecore.overlay import VISIBILITY_WORDS, contact_sheet
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE
from posecore.skeleton import Skeleton, load_skeleton
from synthgen.datasets.statistics import (
    BODY_REACH_M,
    FRAME_REACH,
    QUANTITY_ORDER,
    DatasetStatistics,
    Histogram,
    binned,
    distances,
)

_SIZE = (3.4, 1.9)
_MOST_NAMES = 12
_LEVELS = (VISIBLE, HIDDEN_BY_SELF, HIDDEN_BY_OTHER, OUTSIDE)
_LEVEL_COLOURS = {VISIBLE: "#009e73", HIDDEN_BY_SELF: "#e69f00", HIDDEN_BY_OTHER: "#cc79a7", OUTSIDE: "#8a94a0"}
_SECTIONS = {
    "camera": ("Cameras", "Measured from the labels: where the camera stands as seen from the subject."),
    "subjects": ("Subjects in the picture", ""),
    "visibility": ("Visibility", "Left and right joints together."),
    "bodies": ("Bodies", ""),
    "pose": ("Poses", "Angles between bones, both sides together, and where joints lie about the body."),
    "categories": ("What was drawn", "Names that the scenes' provenance holds."),
    "pictures": ("Pictures and colours", ""),
}


@dataclass(frozen=True)
class Plot:
    """An embedded SVG. `note`: a few figures beside its title. `span`: "", "double" or "wide"."""

    title: str
    note: str
    svg: str
    alt: str
    span: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page; `swatches` are (dataset, [(part, colours)])."""

    title: str
    text: str
    plots: list[Plot]
    swatches: list[tuple[str, list[tuple[str, list[str]]]]]


def write_page(first: DatasetStatistics, second: DatasetStatistics | None, out: Path) -> None:
    """Write the page about one dataset, or about two."""
    both = [first] if second is None else [first, second]
    names = _names(both)
    page = {
        "stylesheet": stylesheet(),
        "title": f"What {names[0]} holds" if second is None else f"{names[0]} and {names[1]}",
        "subtitle": " and ".join(statistics.source for statistics in both),
        "names": names,
        "headlines": [
            line for statistics, name in zip(both, names, strict=True) for line in _headlines(statistics, name)
        ]
        if second is not None
        else _headlines(first, ""),
        "examples": [
            (name, jpeg_url(contact_sheet(statistics.examples, columns=6)))
            for statistics, name in zip(both, names, strict=True)
        ],
        "distances": [] if second is None else [d for d in distances(first, second) if d.name not in _rare(both)],
        "sections": _sections(both, names),
        "origin": _origin(both),
    }
    template = (Path(__file__).parent / "statistics.html.j2").read_text()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, environment.from_string(template).render(page).encode())


def _names(both: Sequence[DatasetStatistics]) -> list[str]:
    """The datasets' names where they differ, else their folders' names, else their places."""
    sources = [statistics.source for statistics in both]
    folders = [source.rstrip("/").rsplit("/", 1)[-1] for source in sources]
    for names in ([statistics.manifest.name for statistics in both], folders):
        if len(set(names)) == len(names):
            return names
    return sources


def _headlines(statistics: DatasetStatistics, name: str) -> list[tuple[str, str, str]]:
    what = "clips" if statistics.manifest.kind == "real" else "scenes"
    lines = [(f"{statistics.num_samples:,}", f"pictures of {statistics.num_scenes:,} {what}", name)]
    if statistics.visibility:
        counts = sum(counts.sum(axis=0) for counts in statistics.visibility.values())
        lines.append((f"{counts[VISIBLE] / counts.sum():.0%}", "of the joints are visible", name))
        hidden = statistics.histograms["occlusion"]
        lines.append((f"{_share_above(hidden, 0.05):.0%}", "of the subjects are hidden in part", name))
        rejected = sum(statistics.manifest.rejects.values())
        share = rejected / max(rejected + statistics.num_scenes, 1)
        lines.append((f"{share:.1%}", "of the drawn scenes were rejected", name))
    return lines


def _share_above(histogram: Histogram, value: float) -> float:
    step = histogram.quantity.step
    return sum(mass for number, mass in histogram.counts.items() if number * step >= value - 1e-9) / histogram.total


def _sections(both: Sequence[DatasetStatistics], names: Sequence[str]) -> list[Section]:
    sections = []
    apart = {entry.name: entry.value for entry in distances(*both)} if len(both) == 2 else {}
    with matplotlib.rc_context(style()):
        for group, (title, text) in _SECTIONS.items():
            plots = _maps(both, names, group) + _histograms(both, group, apart)
            constant, rare = _constant(both, group), _rare(both) if group == "bodies" else set()
            swatches = []
            if group == "categories":
                plots += _categories(both, apart)
            if group == "visibility":
                plots = _visibility(both, names) + plots
            if group == "pictures":
                owners = names if len(both) > 1 else ["Colours of skin, hair, clothes and coats"]
                swatches = [(n, s) for n, s in zip(owners, map(_swatches, both), strict=True) if s]
            if constant:
                text = f"{text} The same in all: {constant}.".strip()
            if rare:
                text = f"{text} {len(rare)} details that vary in some of the bodies only are in the JSON.".strip()
            if plots or swatches or constant:
                sections.append(Section(title, text, plots, swatches))
    return sections


def _histograms(both: Sequence[DatasetStatistics], group: str, apart: dict[str, float]) -> list[Plot]:
    """Plots of what all datasets have and what varies in them."""
    return [
        _histogram(name, [statistics.histograms[name] for statistics in both], apart)
        for name in _shared(both, group)
        if any(statistics.histograms[name].least < statistics.histograms[name].most for statistics in both)
    ]


def _shared(both: Sequence[DatasetStatistics], group: str) -> list[str]:
    """Quantities of a section that all datasets have, in the order in which they are declared."""
    first, order = both[0].histograms, {name: number for number, name in enumerate(QUANTITY_ORDER)}
    rare = _rare(both)
    names = [n for n in first if n not in rare and all(n in statistics.histograms for statistics in both)]
    return sorted((n for n in names if first[n].quantity.group == group), key=lambda n: order.get(n, len(order)))


def _rare(both: Sequence[DatasetStatistics]) -> set[str]:
    """Shape parameters that fewer than half of a dataset's subjects have: a plot each would be hundreds."""
    return {
        name
        for statistics in both
        for name, histogram in statistics.histograms.items()
        if histogram.quantity.group == "bodies" and 2 * histogram.observations < statistics.num_subjects
    }


def _constant(both: Sequence[DatasetStatistics], group: str) -> str:
    """What has one and the same value throughout, in words."""
    constant = []
    for name in _shared(both, group):
        ends = {end for one in both for end in (one.histograms[name].least, one.histograms[name].most)}
        if len(ends) == 1:
            constant.append(f"{both[0].histograms[name].quantity.title.lower()} {ends.pop():g}")
    return ", ".join(constant)


def _histogram(name: str, histograms: Sequence[Histogram], apart: dict[str, float]) -> Plot:
    quantity = histograms[0].quantity
    edges, *shares = binned(*histograms)
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    hues = quantity.name == "hue_deg" and len(histograms) == 1
    if hues:
        colours = [colorsys.hsv_to_rgb(edge / 360, 0.75, 0.9) for edge in (edges[:-1] + edges[1:]) / 2]
        axes.bar(edges[:-1], 100 * shares[0], np.diff(edges), align="edge", color=colours)
    for number, share in enumerate(shares):
        if share is not None and not hues:
            axes.stairs(100 * share, edges, color=SERIES[number], fill=number == 0, alpha=0.35 if number == 0 else 1)
            axes.stairs(100 * share, edges, color=SERIES[number], linewidth=1.6)
    if quantity.is_log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    elif quantity.period:
        axes.xaxis.set_major_locator(FixedLocator(np.arange(edges[0], edges[-1] + 1, 90)))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(quantity.unit, color=INK)
    _percent(axes)
    clean(axes)
    if name in apart:
        medians = " and ".join(_number(histogram.quantile(0.5)) for histogram in histograms)
        note = f"distance {apart[name]:.0%}" + ("" if quantity.period else f", medians {medians}")
    elif quantity.period:
        note = ""
    else:
        low, middle, high = (_number(histograms[0].quantile(share)) for share in (0.05, 0.5, 0.95))
        note = f"median {middle}, 90% in {low} to {high}"
    return Plot(quantity.title, note, svg(figure), f"Histogram of {quantity.title}, {quantity.unit}; {note}.")


def _maps(both: Sequence[DatasetStatistics], names: Sequence[str], group: str) -> list[Plot]:
    plots = []
    for statistics, name in zip(both, names, strict=True):
        whose = f", {name}" if len(both) > 1 else ""
        found = statistics.maps
        match group:
            case "camera" if "sphere" in found:
                plots.append(_map(f"Where cameras stand{whose}", found["sphere"], _sphere_axes, "double"))
            case "pose" if "front" in found:
                plots.append(_map(f"Joints seen from the front{whose}", np.sqrt(found["front"]), _front_axes))
                plots.append(_map(f"Joints seen from its right side{whose}", np.sqrt(found["side"]), _side_axes))
            case "subjects" if "frame" in found:
                plots.append(_map(f"Joints in the picture{whose}", np.sqrt(found["frame"]), _frame_axes))
                share = 100 * found["mask"] / statistics.num_samples
                plots.append(_map(f"Pixels of subjects, % of pictures{whose}", share, _picture_axes, bar=True))
    return plots


def _map(title: str, counts: np.ndarray, dress: Any, span: str = "", bar: bool = False) -> Plot:
    """A map of counts; where no bar tells them, brighter is more."""
    figure = Figure(figsize=(_SIZE[0] * (2.05 if span else 1), 2.5), layout="constrained")
    axes = figure.subplots()
    extent, labels = dress(axes)
    image = axes.imshow(
        counts, extent=extent, cmap="viridis", interpolation="nearest", aspect="auto" if span else "equal"
    )
    axes.set_xlabel(labels[0], color=INK)
    axes.set_ylabel(labels[1], color=INK)
    axes.spines[:].set_visible(False)
    if bar:
        figure.colorbar(image, ax=axes, pad=0.03).outline.set_visible(False)
    return Plot(title, "", svg(figure), f"Map: {title}.", span)


def _sphere_axes(axes: Any) -> tuple[tuple[float, ...], tuple[str, str]]:
    axes.xaxis.set_major_locator(FixedLocator([-180, -90, 0, 90, 180]))
    axes.set_xticks([-180, -90, 0, 90, 180], ["back", "right side", "face", "left side", "back"])
    axes.yaxis.set_major_locator(FixedLocator([-90, -45, 0, 45, 90]))
    return (-180, 180, -90, 90), ("", "elevation, degrees")


def _front_axes(axes: Any) -> tuple[tuple[float, ...], tuple[str, str]]:
    return (-BODY_REACH_M, BODY_REACH_M, -BODY_REACH_M, BODY_REACH_M), ("towards its left, m", "up, m")


def _side_axes(axes: Any) -> tuple[tuple[float, ...], tuple[str, str]]:
    return (-BODY_REACH_M, BODY_REACH_M, -BODY_REACH_M, BODY_REACH_M), ("backwards, m", "up, m")


def _frame_axes(axes: Any) -> tuple[tuple[float, ...], tuple[str, str]]:
    axes.add_patch(matplotlib.patches.Rectangle((0, 0), 1, 1, fill=False, edgecolor="white", linewidth=1))
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    low, high = -FRAME_REACH, 1 + FRAME_REACH
    return (low, high, high, low), ("white: the frame", "")


def _picture_axes(axes: Any) -> tuple[tuple[float, ...], tuple[str, str]]:
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    return (0, 1, 1, 0), ("", "")


def _categories(both: Sequence[DatasetStatistics], apart: dict[str, float]) -> list[Plot]:
    """Plots of the names that all datasets count, where there is more than one."""
    plots = []
    for what in both[0].categories:
        counts = [statistics.categories[what] for statistics in both if what in statistics.categories]
        if len(counts) == len(both) and len(set().union(*counts)) > 1:
            plots.append(_bars(what, counts, f"distance {apart[what]:.0%}" if what in apart else ""))
    return plots


def _bars(what: str, counts: Sequence[Counter[str]], note: str) -> Plot:
    names = [name for name, _ in sum(counts, Counter()).most_common()]
    shown = names[:_MOST_NAMES]
    figure = Figure(figsize=(_SIZE[0], 0.5 + 0.21 * max(len(shown), 4)), layout="constrained")
    axes = figure.subplots()
    thickness = 0.8 / len(counts)
    for number, one in enumerate(counts):
        places = np.arange(len(shown)) + (number - (len(counts) - 1) / 2) * thickness
        shares = [100 * one[name] / one.total() for name in shown]
        axes.barh(places, shares, 0.9 * thickness, color=SERIES[number])
    axes.set_yticks(np.arange(len(shown)), [_short(name) for name in shown])
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    clean(axes)
    axes.grid(visible=False, axis="y")
    if len(names) > len(shown):
        note = " ".join(filter(None, [note, f"and {len(names) - len(shown)} more"]))
    return Plot(what.capitalize(), note, svg(figure), f"Bars of {what}: {', '.join(shown)}.")


def _visibility(both: Sequence[DatasetStatistics], names: Sequence[str]) -> list[Plot]:
    plots = []
    for statistics, name in zip(both, names, strict=True):
        for skeleton_name, counts in statistics.visibility.items():
            whose = f", {name}" if len(both) > 1 else ""
            plots.append(_stacked(f"Joints of {skeleton_name}{whose}", load_skeleton(skeleton_name), counts))
    return plots


def _stacked(title: str, skeleton: Skeleton, counts: np.ndarray) -> Plot:
    """One stacked bar for each joint, the most visible first."""
    merged: dict[str, np.ndarray] = {}
    for joint, row in zip(skeleton.joints, counts, strict=True):
        plain = joint.removeprefix("left_").removeprefix("right_").replace("_", " ")
        merged[plain] = merged.get(plain, 0) + row
    shares = {joint: 100 * row / max(row.sum(), 1) for joint, row in merged.items()}
    order = sorted(shares, key=lambda joint: -shares[joint][VISIBLE])
    figure = Figure(figsize=(14, 2.9), layout="constrained")
    axes = figure.subplots()
    top = np.zeros(len(order))
    for level in _LEVELS:
        heights = np.array([shares[joint][level] for joint in order])
        colour, label = _LEVEL_COLOURS[level], VISIBILITY_WORDS[level]
        axes.bar(np.arange(len(order)), heights, 0.82, bottom=top, color=colour, label=label)
        top = top + heights
    axes.set_xticks(np.arange(len(order)), order, rotation=40, ha="right", rotation_mode="anchor")
    axes.set(xlim=(-0.6, len(order) - 0.4), ylim=(0, 100))
    _percent(axes)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, labelcolor=INK, handlelength=1.2)
    clean(axes)
    most, least = order[0], order[-1]
    alt = f"Most visible: {most}, {shares[most][VISIBLE]:.0f}%; least: {least}, {shares[least][VISIBLE]:.0f}%."
    return Plot(title, "", svg(figure), alt, "wide")


def _swatches(statistics: DatasetStatistics) -> list[tuple[str, list[str]]]:
    """(part, CSS colours from dark to light)."""
    rows = []
    for part, colours in statistics.swatches.items():
        ordered = sorted(colours, key=lambda colour: float(np.dot(colour, (0.299, 0.587, 0.114))))
        rows.append((part, [f"rgb({' '.join(str(round(255 * value)) for value in colour)})" for colour in ordered]))
    return rows


def _origin(both: Sequence[DatasetStatistics]) -> list[tuple[str, list[str]]]:
    rows: list[tuple[str, list[str]]] = [("folder", [statistics.source for statistics in both])]
    manifests = [statistics.manifest for statistics in both]
    rows.append(("kind", [manifest.kind for manifest in manifests]))
    engines = [manifest.recipe.get("engine") for manifest in manifests]
    rows.append(("engine", [_engine(engine) for engine in engines]))
    rows.append(("recipe", [_recipe(manifest.name, manifest.recipe_hash, manifest.seed) for manifest in manifests]))
    rows.append(("versions", [", ".join(f"{n} {v}" for n, v in manifest.versions.items()) for manifest in manifests]))
    rejects = [", ".join(f"{n} {reason}" for reason, n in manifest.rejects.items()) or "none" for manifest in manifests]
    rows.append(("rejected", rejects))
    licences = [sorted({entry["licence"] for entry in manifest.licences}) for manifest in manifests]
    rows.append(("licences of what is in it", [", ".join(names) or "none stated" for names in licences]))
    return [(name, values) for name, values in rows if any(values)]


def _engine(engine: dict[str, Any] | None) -> str:
    return "" if engine is None else f"{engine.get('name')}, {engine.get('samples')} samples a pixel"


def _recipe(name: str, recipe_hash: str, seed: int | None) -> str:
    return f"{name}, hash {recipe_hash[:12]}" + ("" if seed is None else f", seed {seed}")


def _percent(axes: Any) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.set_ylim(bottom=0)


def _number(value: float) -> str:
    """Two digits, more where they stand before the point."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
