"""Times the analytic skeleton image, forward and backward, against the plain per-edge formula; compares peak memory.

Run from the repository: `python benchmarks/skeleton_image.py --threads 1`. The plain formula is the reference of
tests/trainer/models/test_skeleton_image.py: every edge's distance map, an exponential an
edge, the maximum in each group.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from trainer.models.skeleton_image import draw_edges, pixel_centres

NUM_JOINTS = 17
EDGES = (
    (0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10),
    (8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16),
)  # fmt: skip
GROUPS = (1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 4, 4, 4, 3, 3, 3)


def draw_edges_plainly(joints, edges, groups, size, sharpness):
    """The formula as written: d to every edge at every pixel, exp(-sharpness d), maximum over each group."""
    centres = pixel_centres(size, joints)
    pixels = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    starts, ends = (joints[:, list(column)] for column in zip(*edges, strict=True))
    span = (ends - starts)[:, :, None]
    from_start = pixels - starts[:, :, None]
    t = ((from_start * span).sum(-1) / span.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = ((from_start - t[..., None] * span).square().sum(-1) + 1e-6).sqrt()
    lines = torch.exp(-sharpness * distance)
    members = [[edge for edge, group in enumerate(groups) if group == channel] for channel in range(max(groups) + 1)]
    return torch.stack([lines[:, own].amax(1) for own in members], 1).reshape(len(joints), -1, size, size)


def measure(draw, batch: int, size: int, repeats: int) -> float:
    """Seconds of the fastest forward and backward pass, and nothing else."""
    torch.manual_seed(0)
    joints = (torch.rand(batch, NUM_JOINTS, 2) * 1.6 - 0.8).requires_grad_()
    upstream = torch.randn(batch, max(GROUPS) + 1, size, size)
    fastest = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        draw(joints, EDGES, GROUPS, size, 25.0).backward(upstream)
        fastest = min(fastest, time.perf_counter() - begin)
    return fastest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["analytic", "plain"], help="measure one of the two and print raw numbers")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    if arguments.only:
        draw = draw_edges if arguments.only == "analytic" else draw_edges_plainly
        measure(draw, 1, 16, 1)  # what torch loads and keeps at the first call is neither's own
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = measure(draw, arguments.batch, arguments.size, arguments.repeats)
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb)
        return

    # A process each, since a process's peak memory never falls.
    results = {}
    for name in ("plain", "analytic"):
        command = [sys.executable, *sys.argv, "--only", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results[name] = tuple(float(number) for number in output.split())
        print(f"{name:9s} {results[name][0] * 1e3:8.1f} ms   peak +{results[name][1] / 1024:7.1f} MB")
    speed, memory = (results["plain"][column] / results["analytic"][column] for column in (0, 1))
    print(
        f"analytic is {speed:.1f} times as fast and needs 1/{memory:.1f} of the memory "
        f"(B={arguments.batch}, K={NUM_JOINTS}, C=5, {arguments.size}x{arguments.size}, {arguments.threads} threads)"
    )


if __name__ == "__main__":
    main()
