"""All benchmarks by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from posecore.errors import UserError
from trainer.benchmarks import (
    ap10k,
    badja,
    coco,
    deeplabcut,
    human36m,
    human36m_simple,
    lsp,
    mpi_inf_3dhp,
    mpii,
    stanford_extra,
)
from trainer.benchmarks.benchmark import DEFAULT_CUTOFF, Benchmark

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        human36m.BENCHMARK,
        human36m_simple.BENCHMARK,
        mpi_inf_3dhp.BENCHMARK,
        coco.BENCHMARK,
        mpii.BENCHMARK,
        lsp.LSPET,
        lsp.LSP,
        ap10k.BENCHMARK,
        stanford_extra.BENCHMARK,
        badja.BENCHMARK,
        deeplabcut.BENCHMARK,
    )
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        UserError: there is none.
    """
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name.lower(), BENCHMARKS, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(BENCHMARKS)}"
        raise UserError(f"--benchmark {name}: no such benchmark; {hint}")
    return BENCHMARKS[name]


def overview(benchmarks: Iterable[Benchmark]) -> Iterator[str]:
    """One line each: name, subjects, number of joints and how many of them are ours, first metric, what to look for."""
    form = "{:14s} {:10s} {:>7s}  {:58s} {}"
    yield form.format("name", "subjects", "joints", "metric", "layout (more: trainer benchmarks NAME)")
    for benchmark in benchmarks:
        table = benchmark.joints
        joints = "any" if table is None else f"{sum(map(bool, table.partners))}/{len(table.names)}"
        metric = next(iter(benchmark.scores.values()))
        yield form.format(
            benchmark.name, benchmark.superset or "any", joints, metric, benchmark.layout[0].split("   ")[0]
        )


def describe(benchmark: Benchmark) -> Iterator[str]:
    """Lines that say what it is, where it comes from, how it is laid out, and which of its joints is which of ours."""
    yield f"{benchmark.name}: {benchmark.title}"
    yield f"  subjects   {benchmark.superset or 'of whatever body plan the model has'}"
    yield f"  from       {benchmark.source}"
    for place, line in enumerate(benchmark.layout):
        yield f"  {'layout' if place == 0 else '':10s} {line}"
    if benchmark.splits:
        yield f"  --split    {', '.join(benchmark.splits)}"
    if benchmark.stride is not None:
        yield f"  --stride   every how many frames; by default {benchmark.stride}"
    if benchmark.takes_joint_map:
        yield "  --joint-map FILE   YAML: its name of a joint, and ours, a list of ours, or null"
    if benchmark.takes_cutoff:
        yield f"  --likelihood-cutoff   of labels and answers; by default {DEFAULT_CUTOFF}"
    for place, line in enumerate(benchmark.scores.values()):
        yield f"  {'metrics' if place == 0 else '':10s} {line}"
    if benchmark.joints is None:
        yield "  joints     named by the data; those that are not called as ours need --joint-map FILE"
        return
    for place, (theirs, ours) in enumerate(zip(benchmark.joints.names, benchmark.joints.partners, strict=True)):
        partner = " and ".join(ours) or "none of ours, not judged"
        yield f"  {'joints' if place == 0 else '':10s} {theirs} = {'middle of ' if len(ours) > 1 else ''}{partner}"
