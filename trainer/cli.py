"""The `trainer` command. Settings of a run are in YAML, the machine in flags; heavy imports stay inside the commands.

Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage, 130 stopped by a signal (--resume continues a run).
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from posecore.command_line import print_version, run_app
from posecore.errors import UserError

app = typer.Typer(help=__doc__.splitlines()[0], no_args_is_help=True, pretty_exceptions_enable=False)
stages_app = typer.Typer(help="Train: pretrain on synthetic shards, then finetune with real, unlabelled ones mixed in.")
app.add_typer(stages_app, name="run", no_args_is_help=True)
selftest_app = typer.Typer(help="Try on this machine whether a promise holds.")
app.add_typer(selftest_app, name="selftest", no_args_is_help=True)

DEFAULT_DATA, DEFAULT_REAL = "data/humans_dr", "data/real"
DEFAULT_PRETRAIN, DEFAULT_FINETUNE, DEFAULT_REFINE = Path("runs/pretrain"), Path("runs/finetune"), Path("runs/refine")

ConfigOption = Annotated[str, typer.Option(help="Name in recipes/train/, or path of a YAML file.")]
DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="DATASET",
        help="Synthetic dataset, folder or URL. Several are mixed: by their sizes, or each A=SHARE.",
        show_default=DEFAULT_DATA,
    ),
]
RealOption = Annotated[
    list[str],
    typer.Option(
        "--real", metavar="DATASET", help="Real, unlabelled dataset; several as for --data.", show_default=DEFAULT_REAL
    ),
]
OutOption = Annotated[Path, typer.Option(help="Run folder; must be empty or new, unless --resume.")]
HeldOutOption = Annotated[
    str | None, typer.Option(help="Synthetic dataset for the gauges; by default the training data, unaugmented.")
]
SetOption = Annotated[list[str], typer.Option("--set", metavar="A.B=VALUE", help="Change a field of the config.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print config, sizes, memory, speed of a few real steps, time; keep nothing.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda; several processes through torchrun.")]


def main() -> None:
    """Entry point of the command."""
    # Threads that wait by spinning take the cores from whatever else runs: on a busy machine three times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run_app(app)


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before any command."""


@stages_app.command()
def pretrain(
    config: ConfigOption = "pretrain",
    data: DataOption = [],  # noqa: B006
    out: OutOption = DEFAULT_PRETRAIN,
    init: Annotated[Path | None, typer.Option(help="Start from this run's weights, not from ImageNet's.")] = None,
    held_out: HeldOutOption = None,
    overrides: SetOption = [],  # noqa: B006
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Train on labelled synthetic shards."""
    folders = _folders(out if resume else None, synthetic=(data, DEFAULT_DATA), held_out=(held_out, None))
    _train("pretrain", config, folders, out, init, overrides, resume, dry_run, device)


@stages_app.command()
def finetune(
    config: ConfigOption = "finetune",
    init: Annotated[
        Path, typer.Option(help="Pretrained run (or one of its step_... folders); none: ImageNet's weights alone.")
    ] = DEFAULT_PRETRAIN,
    data: DataOption = [],  # noqa: B006
    real: RealOption = [],  # noqa: B006
    out: OutOption = DEFAULT_FINETUNE,
    held_out: HeldOutOption = None,
    held_out_real: Annotated[
        str | None, typer.Option(help="Real dataset for the gauges; by default the training data, unaugmented.")
    ] = None,
    overrides: SetOption = [],  # noqa: B006
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Continue a pretrained run on real images by analysis-by-synthesis, synthetic supervision mixed in.

    With --config mean_teacher by a mean teacher instead: the baseline to beat, on the same batches.
    """
    folders = _folders(
        out if resume else None,
        synthetic=(data, DEFAULT_DATA),
        real=(real, DEFAULT_REAL),
        held_out=(held_out, None),
        held_out_real=(held_out_real, None),
    )
    if folders.real == DEFAULT_REAL and not Path(DEFAULT_REAL).exists() and not dry_run:
        raise UserError(
            f"{DEFAULT_REAL}: no real footage there; make it with `synthgen pack YOUR_VIDEO.mp4`, "
            "or from the packaged sample clips with `synthgen pack asset:video/people`"
        )
    _train("finetune", config, folders, out, None if init == Path("none") else init, overrides, resume, dry_run, device)


@stages_app.command()
def refine(
    real: RealOption = [],  # noqa: B006
    config: ConfigOption = "refine",
    init: Annotated[Path, typer.Option(help="Finetuned run (or one of its step_... folders).")] = DEFAULT_FINETUNE,
    out: OutOption = DEFAULT_REFINE,
    held_out: Annotated[
        str | None, typer.Option(help="Labelled dataset on which to tell how the flip rate drifts; nothing is learned.")
    ] = None,
    overrides: SetOption = [],  # noqa: B006
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Adapt a run to one subject's clips, without labels: a few hundred steps, held near the poses it starts from."""
    folders = _folders(out if resume else None, real=(real, DEFAULT_REAL), held_out=(held_out, None))
    _train("refine", config, folders, out, init, overrides, resume, dry_run, device)


@selftest_app.callback()
def _selftests() -> None:
    """Options before any self-test."""


@selftest_app.command("resume")
def selftest_resume(
    data: Annotated[
        str | None, typer.Option(help="Labelled dataset.", show_default="line figures, with small networks")
    ] = None,
    real: Annotated[
        str | None, typer.Option(help="Unlabelled dataset, for finetuning.", show_default="line figures")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Run to start from.", show_default="ImageNet's weights")] = None,
    config: ConfigOption = "pretrain",
    overrides: SetOption = [],  # noqa: B006
    steps: Annotated[int, typer.Option(min=10, help="Of each run; it is killed after three fifths of them.")] = 60,
    every: Annotated[int, typer.Option(min=2, help="Steps between checkpoints.")] = 20,
    device: DeviceOption = "cpu",
) -> None:
    """Train, kill -9, resume: do losses and samples equal those of a run without interruption? Exit code 1 if not."""
    import tempfile

    from trainer.training.selftest import resume_test

    if every >= steps // 2:
        raise typer.BadParameter(
            "must be less than half of --steps, or there is nothing to resume", param_hint="--every"
        )
    with tempfile.TemporaryDirectory(prefix="trainer-selftest-") as folder:
        verdict = resume_test(Path(folder), data, real, init, config, tuple(overrides), steps, every, device)
    typer.echo(
        f"killed (-9) after step {verdict.killed_after_step}, resumed from step {verdict.checkpoint_step} with one "
        f"more loader process; compared from there: losses of {verdict.steps_compared} steps, "
        f"keys of {verdict.keys_compared} samples"
    )
    if verdict.problem is not None:
        typer.echo(f"DIFFERENT: {verdict.problem}")
        raise typer.Exit(1)
    typer.echo("EQUAL: the resumed run is the uninterrupted one")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="Run folder, or one of its step_... folders.")],
    data: Annotated[str | None, typer.Option(help="Labelled dataset: folder or URL.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of --data: one of `trainer benchmarks`.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The benchmark's folder, in its own layout.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of the benchmark.", show_default="its usual test part")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Every how many frames of its videos.", show_default="as published")
    ] = None,
    joint_map: Annotated[
        Path | None, typer.Option(help="YAML, `their_joint: our_joint` or null: DeepLabCut, StanfordExtra.")
    ] = None,
    likelihood_cutoff: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of confident points: DeepLabCut.", show_default="0.6")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the metrics here, with all breakdowns.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(help="Tables to print: of species, azimuth, elevation, visibility, joint, confidence; all; none."),
    ] = "species,azimuth",
    max_samples: Annotated[
        int | None, typer.Option(min=1, help="Judge this many, spread evenly over the dataset.", show_default="all")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Metrics of a run on labelled shards, beside the mean pose's, or on one of the field's benchmarks."""
    if (data is None) == (benchmark is None):
        raise typer.BadParameter("give one of them", param_hint="--data / --benchmark")
    of_benchmark = {"--root": root, "--split": split, "--stride": stride, "--joint-map": joint_map,
                    "--likelihood-cutoff": likelihood_cutoff}  # fmt: skip
    if benchmark is not None and root is None:
        raise typer.BadParameter("a benchmark needs its folder", param_hint="--root")
    if data is not None and (stray := [flag for flag, given in of_benchmark.items() if given is not None]):
        raise typer.BadParameter("goes with --benchmark, not with --data", param_hint=stray[0])
    from trainer.evaluation.tables import breakdown_names

    tables = breakdown_names(by)
    if benchmark is not None:
        from trainer.evaluation.benchmark import BenchmarkOptions, evaluate_benchmark, print_benchmark

        options = BenchmarkOptions(split, stride, joint_map, likelihood_cutoff)
        result = evaluate_benchmark(checkpoint, benchmark, root, options, _device(device), max_samples)
        print_benchmark(result, tables)
    else:
        from trainer.evaluation.evaluate import evaluate as evaluate_run
        from trainer.evaluation.evaluate import print_metrics

        result = evaluate_run(checkpoint, data, device=_device(device), max_samples=max_samples)
        print_metrics(result, tables)
    if json_path is not None:
        import json

        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


@app.command()
def ablate(
    grid: Annotated[str, typer.Argument(metavar="GRID", help="Name in recipes/ablations/, or path of a YAML file.")],
    tests: Annotated[
        list[str],
        typer.Option(
            "--test",
            metavar="DATASET|NAME:ROOT",
            help="What every run is judged on: a labelled dataset, or a benchmark and its folder. May be given again.",
        ),
    ],
    data: DataOption = [],  # noqa: B006
    real: RealOption = [],  # noqa: B006
    out: Annotated[
        Path,
        typer.Option(help="Folder of runs and of the tables GRID.md; grids share the runs that they have in common."),
    ] = Path("runs/ablate"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; they share the cores.")] = 1,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="A.B=VALUE", help="Change a field of every stage's config.")
    ] = [],  # noqa: B006
    init: Annotated[
        Path | None, typer.Option(help="Trained run, or one of its checkpoints, that every first stage starts from.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs; train nothing.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Train the variants of a grid with several seeds each, and compare them in one table; repeat it to go on."""
    from trainer.ablation.ablate import run_ablation

    folders = _folders(None, synthetic=(data, DEFAULT_DATA), real=(real, None))
    device = str(_device(device))
    if not run_ablation(grid, folders, tests, out, seeds, jobs, tuple(overrides), init, dry_run, device, typer.echo):
        raise typer.Exit(1)


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Option(help="Run folder, one of its step_... folders, or an exported .onnx.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, videos, folders of them, packed datasets.")
    ],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    boxes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|alpha|motion|frame",
            help="Where subjects are: a file (our JSON, COCO detections, csv), the alpha channel, what moves before a "
            "still camera, or the whole picture.",
            show_default="a labelled dataset's own, else frame",
        ),
    ] = None,
    min_box_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out detections below this score.")] = 0.3,
    box_category: Annotated[int | None, typer.Option(help="Take only COCO detections of this category.")] = None,
    skeleton: Annotated[str | None, typer.Option(help="Give joints of this skeleton, such as coco17.")] = None,
    smooth: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="SECONDS", help="Smooth over time in a window this wide; 0.2 to 0.5."),
    ] = None,
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Mean with the prediction on the mirrored picture; half as fast.")
    ] = False,
    fps: Annotated[
        float | None, typer.Option(min=0.001, help="Picture files are the frames of a clip, so many a second.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a table too, a line for each joint.")] = None,
    dlc_csv: Annotated[
        Path | None, typer.Option(help="Write DeepLabCut's csv too; a folder for several clips.")
    ] = None,
    coco: Annotated[Path | None, typer.Option(help="Write COCO's results JSON too.")] = None,
    bvh: Annotated[
        Path | None, typer.Option(help="Write the motion as BVH too; a folder for several subjects or clips.")
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Draw the joints into this picture, video or folder.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops that the network sees at a time.")] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; an exported model runs on the CPU.")] = "auto",
) -> None:
    """Estimate poses in pictures and video."""
    from trainer.prediction.predict import Outputs, predict_files

    summary = predict_files(
        checkpoint,
        inputs,
        out,
        boxes=boxes,
        outputs=Outputs(table=csv, dlc=dlc_csv, coco=coco, bvh=bvh, overlay=overlay),
        skeleton=skeleton,
        smooth_s=smooth,
        flip_test=flip_test,
        stills_rate=fps,
        min_box_score=min_box_score,
        box_category=box_category,
        batch_size=batch_size,
        device=device,
    )
    left_out = f"; nobody in {summary.empty} of them" if summary.empty else ""
    left_out += f"; boxes beside their picture, left out: {summary.outside}" if summary.outside else ""
    typer.echo(
        f"{len(summary.predictions)} poses in {len(summary.seen)} pictures ({summary.images_per_s:.1f} images/s): "
        f"{out}{left_out}"
    )


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Option(help="Run folder, or one of its step_... folders.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")] = Path("model.onnx"),
    opset: Annotated[int, typer.Option(min=18, help="Of ONNX; 18 runs wherever the model can be expressed.")] = 18,
) -> None:
    """Write a run as ONNX, check it against torch in pixels, and say how fast both are."""
    from trainer.prediction.export import export_onnx

    exported = export_onnx(checkpoint, out, opset)
    typer.echo(
        f"{out}: {exported.megabytes:.1f} MB, opset {opset}, within {exported.difference_px:.5f} px of torch; "
        f"one picture on one core {exported.onnx_ms:.1f} ms, torch {exported.torch_ms:.1f} ms"
    )


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders to compare; the last one leads.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    data: Annotated[
        str | None, typer.Option(help="Labelled dataset to judge on; by default that of RUN/metrics.json.")
    ] = None,
    real: Annotated[str | None, typer.Option(help="Real dataset for reconstructions and predictions.")] = None,
    max_samples: Annotated[
        int, typer.Option(min=1, help="Judge this many of each dataset; a stored evaluation is taken as it is.")
    ] = 256,
    device: DeviceOption = "auto",
) -> None:
    """One HTML page that compares runs: numbers, curves, charts and pictures."""
    from trainer.evaluation.report import write_report

    write_report(runs, out, data, real, max_samples, _device(device))
    typer.echo(f"wrote {out}")


@app.command()
def benchmarks(
    name: Annotated[str | None, typer.Argument(help="Show this one in full: layout, source, joints, metrics.")] = None,
) -> None:
    """List the benchmarks that `evaluate --benchmark` reads."""
    from trainer.benchmarks.registry import BENCHMARKS, describe, find_benchmark, overview

    for line in describe(find_benchmark(name)) if name else overview(BENCHMARKS.values()):
        typer.echo(line)


@app.command()
def configs() -> None:
    """List the packaged configurations."""
    from posecore.resources import resource_dir

    for path in sorted((resource_dir("recipes") / "train").glob("*.yaml")):
        first = path.read_text().splitlines()[0]
        typer.echo(f"{path.stem:20s} {first.lstrip('# ')}")


def _folders(resumed: Path | None, **choices: tuple[list[str] | str | None, str | None]):
    """The datasets of a run: each what was said, else what the resumed run was given, else its default."""
    import json

    from trainer.training.folders import FOLDERS, Folders

    stored = {}
    if resumed is not None and (resumed / FOLDERS).is_file():
        stored = json.loads((resumed / FOLDERS).read_text())
    chosen = {name: said or stored.get(name) or default for name, (said, default) in choices.items()}
    # One dataset is a string, a mixture is a tuple.
    return Folders(
        **{
            name: (said[0] if len(said) == 1 else tuple(said)) if isinstance(said, list) else said
            for name, said in chosen.items()
        }
    )


def _train(
    stage: str, name: str, folders, out: Path, init: Path | None, overrides: list[str], resume: bool, dry_run: bool,
    device: str,
) -> None:  # fmt: skip
    from trainer.config import load_config, override_config, with_networks_of
    from trainer.training.checkpoint import open_checkpoint
    from trainer.training.stages import run_stage

    last = open_checkpoint(out) if resume else None
    # A resumed run keeps its own configuration; --set may still change it (more steps, say).
    config = override_config(last.config, tuple(overrides)) if last else load_config(name, tuple(overrides))
    if config.command != stage:
        raise UserError(f"{name}: its stage is {config.stage}; run it with `trainer run {config.command}`")
    if not resume and not dry_run and _is_in_use(out):
        raise UserError(f"{out}: not empty; continue it with --resume, or choose another --out")
    start = open_checkpoint(init) if init is not None and not resume else None
    if start is not None:
        config = with_networks_of(config, start.config)
    if dry_run:
        from trainer.config import dump_config
        from trainer.training.plan import plan_lines

        typer.echo(dump_config(config))
        for line in plan_lines(config, folders, out, start, device, steps=6):
            typer.echo(f"# {line}")
        return
    if not run_stage(config, folders, out, device, start, last):
        raise typer.Exit(130)


def _is_in_use(out: Path) -> bool:
    """Whether a folder holds more than a run leaves that ended before its first checkpoint."""
    from trainer.training.folders import FOLDERS
    from trainer.training.logs import METRICS, PICTURES, SAMPLES, TENSORBOARD

    left = (FOLDERS, METRICS, SAMPLES, PICTURES, TENSORBOARD)
    return out.exists() and any(entry.name not in left for entry in out.iterdir())


def _device(name: str):
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


if __name__ == "__main__":
    main()
