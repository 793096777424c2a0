"""One sample with everything that is stored of it: a picture of all layers side by side, and its labels as tables.

Joints keep the look of posecore.overlay: left warm, right cool; a filled dot is seen, a ring is hidden, a ring of its
own colour is hidden by something else. Joints outside the frame are crosses at their true place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from rich.console import Group
from rich.table import Table

from posecore.camera import Camera, unproject
from posecore.codec import decode, decode_real, read_meta
from posecore.derived_joints import DerivedJoints, derive_joints, derived_names
from posecore.errors import UserError
from posecore.overlay import BOX_COLOUR, HIDDEN_BY_OTHER_COLOUR, SIDE_COLOURS, VISIBILITY_WORDS
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE, RealFrame, Sample, Subject
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import invert_rigid, transform_points
from synthgen.datasets.lookup import Record, find_record

_GROUND = "#2b3036"  # light and dark joints both show on it
_QUIET = "#5d6875"
_PANEL_INCHES = 3.4
_DPI = 110
_MOST_MARGIN = 0.4  # how far beyond the picture joints are shown, in picture sizes
_STYLE = {"font.size": 8.5, "axes.titlesize": 10, "axes.titlelocation": "left", "font.family": "sans-serif"}


@dataclass(frozen=True, eq=False)
class Inspected:
    """A sample as found: `sample` of a synthetic dataset, or `real` of an unlabelled one; `meta` is its meta.json."""

    record: Record
    meta: dict[str, Any]
    sample: Sample | None
    real: RealFrame | None


_Panel = tuple[str, Callable[[Axes], None], bool]
"""Title, what draws it, and whether its axes are 3D."""


def find_sample(data: str, key: str) -> Inspected:
    """One decoded sample of a dataset.

    Args:
        data: local folder or fsspec URL.

    Raises:
        UserError: no such dataset or key, or the sample is damaged.
    """
    _, record = find_record(data, key)
    meta = read_meta(record.members)
    if "subjects" in meta:
        return Inspected(record, meta, decode(record.members), None)
    return Inspected(record, meta, None, decode_real(record.members))


def write_picture(inspected: Inspected, out: Path, skeletons: Sequence[str] = ()) -> None:
    """Write all layers of the sample side by side, as PNG, JPEG, PDF or SVG by the name's ending.

    Args:
        skeletons: shown one panel each; empty: the stored one, and the usual 17 joints that follow from it.

    Raises:
        UserError: an unknown skeleton, or one that no subject of the picture can be shown in; an unknown file format.
    """
    known = Figure().canvas.get_supported_filetypes()
    if out.suffix.lstrip(".").lower() not in known:
        raise UserError(f"{out}: no picture format of that ending; choose .png, .jpg, .pdf or .svg")
    panels = _panels(inspected, skeletons)
    # as few empty places as can be
    columns = min(range(min(3, len(panels)), 6), key=lambda columns: (-len(panels) % columns, -columns))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(_STYLE):
        panel_height = _PANEL_INCHES * min(1.4, max(0.75, _aspect(inspected)))
        size = (_PANEL_INCHES * columns, (panel_height + 0.3) * rows + 0.9)
        figure = Figure(figsize=size, layout="constrained", dpi=_DPI)
        figure.suptitle(_headline(inspected), x=0.012, ha="left", fontsize=11)
        for number, (title, draw, is_3d) in enumerate(panels):
            axes = figure.add_subplot(rows, columns, number + 1, projection="3d" if is_3d else None)
            axes.set_title(title)
            draw(axes)
        if inspected.sample is not None:
            handles, ncols = _legend_handles(), 8 if columns > 3 else 4
            figure.legend(handles=handles, loc="outside lower left", ncols=ncols, frameon=False, fontsize=8.5)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out)


def tables(inspected: Inspected, skeleton: str | None = None) -> Group:
    """The labels and the origin of a sample as tables for a terminal.

    Args:
        skeleton: joints are listed in this one; None: in the stored one.
    """
    if inspected.real is not None:
        return Group(_facts("real frame", _real_facts(inspected)))
    sample = inspected.sample
    parts = [_facts("picture", _picture_facts(inspected, sample))]
    for subject in sample.subjects:
        parts += [
            _facts(f"subject {subject.id}", _subject_facts(sample, subject)),
            _joint_table(sample, subject, skeleton),
        ]
    return Group(*parts, _facts("provenance", _provenance_facts(sample.provenance)))


def _headline(inspected: Inspected) -> str:
    if inspected.real is not None:
        real = inspected.real
        return f"{real.key}   clip {real.clip}, frame {real.frame}, {real.time_s:.2f} s"
    sample = inspected.sample
    return f"{sample.key}   recipe {sample.provenance.get('recipe', '?')}, {inspected.record.shard}"


def _aspect(inspected: Inspected) -> float:
    picture = (inspected.sample or inspected.real).image
    return picture.shape[0] / picture.shape[1]


def _panels(inspected: Inspected, skeletons: Sequence[str]) -> list[_Panel]:
    if inspected.real is not None:
        return [("picture", lambda axes: _show(axes, inspected.real.image), False)]
    sample = inspected.sample
    panels: list[_Panel] = [("picture and boxes", lambda axes: _draw_picture(axes, sample), False)]
    panels.append(("mask", lambda axes: _draw_mask(axes, sample), False))
    if sample.parts is not None:
        panels.append(("parts", lambda axes: _draw_parts(axes, sample), False))
    if sample.depth_m is not None:
        panels.append(("depth, m", lambda axes: _draw_depth(axes, sample), False))
    if sample.normal is not None:
        panels.append(("normals, world axes", lambda axes: _show(axes, sample.normal), False))
    for name in skeletons or _usual_skeletons(sample):
        panels.append((f"skeleton {name}", _skeleton_drawer(sample, load_skeleton(name)), False))
    if sample.subjects:
        panels.append(("from above, world metres", lambda axes: _draw_from_above(axes, sample), False))
        panels.append(("joints, world metres", lambda axes: _draw_in_space(axes, sample), True))
    return panels


def _usual_skeletons(sample: Sample) -> list[str]:
    stored = dict.fromkeys(subject.skeleton for subject in sample.subjects)
    common = [name for superset in stored for name in derived_names(superset) if name in ("coco17", "ap10k17")]
    return [*stored, *common]


def _show(axes: Axes, picture: np.ndarray, **options: Any) -> Any:
    height, width = picture.shape[:2]
    axes.set_axis_off()
    axes.set_anchor("NW")
    return axes.imshow(picture, extent=(0, width, height, 0), interpolation="nearest", **options)


def _draw_picture(axes: Axes, sample: Sample) -> None:
    _show(axes, sample.image)
    for subject in sample.subjects:
        x, y, width, height = subject.box_px
        if width == 0:
            continue
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=_rgb(BOX_COLOUR), linewidth=1.2))
        text = f"{subject.id} {subject.species}"
        axes.text(x, y, text, va="bottom", color="black", fontsize=7.5, bbox=_tag(_rgb(BOX_COLOUR)))


def _draw_mask(axes: Axes, sample: Sample) -> None:
    grey = sample.image.mean(axis=2, keepdims=True).repeat(3, axis=2) / 255 * 0.55
    colours = matplotlib.colormaps["tab10"].colors
    for subject in sample.subjects:
        here = sample.mask == subject.id
        grey[here] = 0.45 * grey[here] + 0.55 * np.array(colours[(subject.id - 1) % len(colours)])
    _show(axes, grey)


def _draw_parts(axes: Axes, sample: Sample) -> None:
    colours = np.array([(0.17, 0.19, 0.21), *matplotlib.colormaps["tab20"].colors])
    _show(axes, colours[np.where(sample.parts > 0, 1 + (sample.parts.astype(int) - 1) % 20, 0)])


def _draw_depth(axes: Axes, sample: Sample) -> None:
    shown = np.ma.masked_invalid(sample.depth_m.astype(np.float32))
    subjects = shown[sample.mask > 0].compressed()
    of_interest = subjects if subjects.size else shown.compressed()
    low, high = (of_interest.min(), of_interest.max()) if of_interest.size else (0.0, 1.0)
    # the subjects get most of the colours; what is nearer or farther shares the first and last ones
    image = _show(axes, shown, cmap="viridis_r", vmin=low - 0.2, vmax=high + 1.0)
    bar = axes.inset_axes((0.0, -0.06, 1.0, 0.03))
    axes.figure.colorbar(image, cax=bar, orientation="horizontal", extend="both").outline.set_visible(False)


def _skeleton_drawer(sample: Sample, skeleton: Skeleton) -> Callable[[Axes], None]:
    fitting = [subject for subject in sample.subjects if subject.skeleton == skeleton.superset]
    if sample.subjects and not fitting:
        derive_joints(sample.subjects[0], skeleton, sample.camera)  # raises with the names that there are

    def draw(axes: Axes) -> None:
        _show(axes, sample.image)
        axes.set_axis_on()
        axes.set(facecolor=_GROUND, xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        joints = [derive_joints(subject, skeleton, sample.camera) for subject in fitting]
        for one in joints:
            _draw_joints(axes, one.joints_px, one.visibility, skeleton)
        _widen(axes, sample.camera, [one for one in joints if (one.visibility != OUTSIDE).any()])

    return draw


def _widen(axes: Axes, camera: Camera, joints: Sequence[DerivedJoints]) -> None:
    """Axis limits that hold the picture and, within reason, the joints outside it."""
    size = np.array([camera.width, camera.height], dtype=float)
    points = np.concatenate([np.zeros((1, 2)), size[None], *(one.joints_px for one in joints)])
    points = points[np.isfinite(points).all(axis=1)]
    low = np.maximum(points.min(axis=0), -_MOST_MARGIN * size)
    high = np.minimum(points.max(axis=0), (1 + _MOST_MARGIN) * size)
    spare = np.where((low < 0) | (high > size), 0.02 * size, 0.0)
    axes.set(xlim=(low[0] - spare[0], high[0] + spare[0]), ylim=(high[1] + spare[1], low[1] - spare[1]))


def _draw_joints(axes: Axes, points: np.ndarray, visibility: np.ndarray, skeleton: Skeleton) -> None:
    """Edges and dots of one subject at `points` [J, 2 or 3], in axes of as many dimensions."""
    for a, b in skeleton.edges:
        side = skeleton.side(b) if skeleton.side(b) != "centre" else skeleton.side(a)
        axes.plot(*points[[a, b]].T, color=_rgb(SIDE_COLOURS[side]), linewidth=1.3, solid_capstyle="round")
    for joint, (point, level) in enumerate(zip(points, visibility, strict=True)):
        axes.plot(*point[:, None], **_marker(level, SIDE_COLOURS[skeleton.side(joint)]))


def _marker(level: int, side_colour: tuple[int, int, int]) -> dict[str, Any]:
    colour = _rgb(side_colour)
    match int(level):
        case 3:
            return {"marker": "o", "markersize": 4.2, "color": colour, "markeredgecolor": "#141414", "linestyle": ""}
        case 2:
            return {"marker": "o", "markersize": 5, "color": "none", "markeredgecolor": colour, "linestyle": ""}
        case 1:
            other = _rgb(HIDDEN_BY_OTHER_COLOUR)
            return {"marker": "o", "markersize": 5, "color": "none", "markeredgecolor": other, "linestyle": ""}
    return {"marker": "x", "markersize": 4.5, "color": "#9aa5b1", "linestyle": ""}


def _draw_from_above(axes: Axes, sample: Sample) -> None:
    axes.set(facecolor=_GROUND, aspect="equal", xlabel="x", ylabel="y")
    axes.set_anchor("NW")
    axes.grid(color="white", alpha=0.08)
    for subject in sample.subjects:
        _draw_joints(axes, subject.joints_world_m[:, :2], subject.visibility, load_skeleton(subject.skeleton))
    camera = sample.camera
    reach = max(float(np.median(subject.joints_cam_m[:, 2])) for subject in sample.subjects)
    corners = np.array([[0.0, camera.height / 2], [camera.width, camera.height / 2]])
    sides = unproject(camera.K, corners, np.full(2, reach))
    sides = transform_points(invert_rigid(camera.cam_from_world), sides)[:, :2]
    eye = camera.position_world[:2]
    for side in sides:
        axes.plot(*np.stack([eye, side]).T, color="#9aa5b1", linewidth=0.9, linestyle=":")
    axes.plot(*eye, marker="s", markersize=6, color="#e8ebee", linestyle="")
    axes.annotate("camera", eye, (0, 6), textcoords="offset points", ha="center", color="#e8ebee", fontsize=7.5)
    axes.margins(0.12)


def _draw_in_space(axes: Any, sample: Sample) -> None:
    points = np.concatenate([subject.joints_world_m for subject in sample.subjects])
    for subject in sample.subjects:
        _draw_joints(axes, subject.joints_world_m, subject.visibility, load_skeleton(subject.skeleton))
    middle, half = (points.min(axis=0) + points.max(axis=0)) / 2, 0.55 * np.ptp(points, axis=0).max()
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.set(zlim=(max(0.0, middle[2] - half), max(0.0, middle[2] - half) + 2 * half))
    axes.set_box_aspect((1, 1, 1), zoom=1.15)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(_GROUND)
        axis._axinfo["grid"].update(color=(1, 1, 1, 0.12), linewidth=0.6)
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    towards = sample.camera.position_world - middle
    axes.view_init(elev=18, azim=float(np.degrees(np.arctan2(towards[1], towards[0]))) + 25)
    axes.tick_params(labelsize=7, pad=-2)


def _legend_handles() -> list[Line2D]:
    lines = [
        Line2D([], [], color=_rgb(SIDE_COLOURS[side]), linewidth=3, label=label)
        for side, label in (("left", "left limbs"), ("right", "right limbs"))
    ]
    lines.append(Line2D([], [], color="#c4cad1", linewidth=3, label="midline"))
    for level in (VISIBLE, HIDDEN_BY_SELF, HIDDEN_BY_OTHER, OUTSIDE):
        style = _marker(level, SIDE_COLOURS["left"]) | {"markersize": 7}
        lines.append(Line2D([], [], **style, label=VISIBILITY_WORDS[level]))
    return [*lines, Line2D([], [], color=_rgb(BOX_COLOUR), linewidth=2, label="box of the visible pixels")]


def _facts(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _real_facts(inspected: Inspected) -> list[tuple[str, str]]:
    real = inspected.real
    height, width = real.image.shape[:2]
    x, y, crop_width, crop_height = real.crop
    return [
        ("key", f"{real.key} in {inspected.record.shard}"),
        ("size", f"{width} x {height} px"),
        ("source", real.source),
        ("clip", real.clip),
        ("frame", f"{real.frame} at {real.time_s:.3f} s"),
        ("crop", f"{crop_width:g} x {crop_height:g} px at ({x:g}, {y:g}) of the source"),
        *((name, str(value)) for name, value in real.extra.items()),
    ]


def _picture_facts(inspected: Inspected, sample: Sample) -> list[tuple[str, str]]:
    camera = sample.camera
    fov = np.degrees(2 * np.arctan(np.array([camera.width, camera.height]) / 2 / np.diag(camera.K)[:2]))
    position = ", ".join(f"{value:.2f}" for value in camera.position_world)
    sizes = ", ".join(f"{name} {len(content) / 1024:.1f} kB" for name, content in inspected.record.members.items())
    return [
        ("key", f"{sample.key} in {inspected.record.shard}: scene {sample.scene}, frame {sample.frame}, "
                f"view {sample.view}"),
        ("size", f"{camera.width} x {camera.height} px"),
        ("stored", sizes),
        ("camera", f"{fov[0]:.1f} x {fov[1]:.1f} degrees, focal length {camera.K[0, 0]:.1f} px, "
                   f"centre ({camera.K[0, 2]:.1f}, {camera.K[1, 2]:.1f})"),
        ("camera at", f"({position}) m"),
    ]  # fmt: skip


def _subject_facts(sample: Sample, subject: Subject) -> list[tuple[str, str]]:
    box = ", ".join(f"{value:g}" for value in subject.box_px)
    distance_m = float(np.linalg.norm(subject.joints_cam_m.mean(axis=0)))
    return [
        ("kind", f"{subject.kind}, {subject.species}"),
        ("seen", f"{int((sample.mask == subject.id).sum())} px in box ({box}), {distance_m:.2f} m away"),
        ("hidden", f"occlusion {subject.occlusion:.1%}, truncation {subject.truncation:.1%}"),
        ("shape", ", ".join(f"{name} {value:.2f}" for name, value in subject.shape.items())),
    ]


def _joint_table(sample: Sample, subject: Subject, skeleton: str | None) -> Table:
    chosen = load_skeleton(skeleton or subject.skeleton)
    joints = derive_joints(subject, chosen, sample.camera)
    table = Table(title=f"joints of subject {subject.id}, {chosen.name}", title_justify="left")
    table.add_column("joint")
    for name in ("x px", "y px", "depth m"):
        table.add_column(name, justify="right")
    table.add_column("visibility")
    for name, (x, y), point, level in zip(
        chosen.joints, joints.joints_px, joints.joints_cam_m, joints.visibility, strict=True
    ):
        table.add_row(name, f"{x:.2f}", f"{y:.2f}", f"{point[2]:.3f}", VISIBILITY_WORDS[int(level)])
    return table


def _provenance_facts(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    spec = provenance.get("spec", {})
    rows = [
        ("recipe", f"{provenance.get('recipe', '?')}, hash {str(provenance.get('recipe_hash', '?'))[:12]}"),
        ("seed", f"{provenance.get('seed', '?')}, scene drawn {int(spec.get('attempt', 0)) + 1} times"),
        ("versions", ", ".join(f"{name} {value}" for name, value in provenance.get("versions", {}).items())),
        ("assets", ", ".join(provenance.get("assets", []))),
    ]
    for number, camera in enumerate(spec.get("cameras", [])):
        numbers = {name: value for name, value in camera.items() if isinstance(value, int | float)}
        rows.append((f"camera {number}", ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())))
    if "world" in spec:
        props = spec.get("props", [])
        occluders = sum(prop.get("role") == "occluder" for prop in props)
        rows.append(("world", f"{spec['world'].get('hdri')}, {len(spec.get('lights', []))} lamps, "
                              f"{len(props)} things of which {occluders} are occluders"))  # fmt: skip
    return [(name, value) for name, value in rows if value]


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _tag(colour: tuple[float, float, float]) -> dict[str, Any]:
    return {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}
