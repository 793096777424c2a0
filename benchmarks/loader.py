"""How fast pictures come: training pairs a second on one core, beside the JPEG decoder alone; and a training's wait.

Run from the repository: `python benchmarks/loader.py --data data/humans_dr` (any labelled dataset; without one, line
figures of 128 px). Times are of this process's processor, so that other work on the machine does not count. A pair is
two pictures: x and x', cut out, changed in colour, labelled. `--train 60` also trains for 60 steps and tells its wait.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import torch

from posecore.codec import decode_image, image_member
from posecore.dataset import iterate_dataset
from posecore.skeleton import load_skeleton
from trainer.data.config import DataConfig
from trainer.data.line_figures import write_line_figures
from trainer.data.streams import synthetic_stream
from trainer.training.logs import read_metrics

ROUNDS = 8


def jpeg_images_per_s(folder: str, count: int) -> float:
    """The decoder alone, on the dataset's own pictures."""
    images = [image_member(members) for _, members in islice(iterate_dataset(folder), count)]

    def decode_all() -> None:
        for image in images:
            decode_image(image, "benchmark")

    return len(images) / fastest_s(decode_all)


def pairs_per_s(folder: str, data: DataConfig, skeleton: str, batches: int) -> float:
    """A warm stream, in this process."""
    stream = synthetic_stream(folder, load_skeleton(skeleton), data, seed=0)
    next(stream)

    def draw() -> None:
        for _ in range(batches):
            next(stream)

    return batches * data.synthetic_batch_size / fastest_s(draw)


def fastest_s(work: Callable[[], None]) -> float:
    """Processor seconds of the fastest of several rounds: others' work slows a core down by its caches as well."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        rounds.append(time.process_time() - begin)
    return min(rounds)


def data_wait_pct(folder: str, size: int, skeleton: str, steps: int, workers: int, threads: int) -> float:
    """Of a CPU training's steps once it is under way."""
    settings = (
        f"skeleton={skeleton}", f"data.input_size_px={size}", f"data.num_workers={workers}", f"schedule.steps={steps}",
        "schedule.pose_head_steps=0", "schedule.gauge_samples=16", "schedule.log_every=10",
        "schedule.gauge_every=100000",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "trainer.cli", "run", "pretrain", "--data", folder, "--out", f"{out}/run"]
        words = [word for setting in settings for word in ("--set", setting)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run([*command, "--device", "cpu", *words], check=True, stdout=subprocess.DEVNULL, env=environment)
        lines = read_metrics(Path(out) / "run", "train")[2:]
    return sum(line["data_wait_pct"] for line in lines) / len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="labelled dataset; line figures if none is given")
    parser.add_argument("--size", type=int, default=128, help="side of the network's input in pixels")
    parser.add_argument("--batches", type=int, default=15, help="of 16 pairs, in each of 8 rounds")
    parser.add_argument("--skeleton", default="h36m17")
    parser.add_argument("--train", type=int, default=0, metavar="STEPS", help="also train, and tell the wait for data")
    parser.add_argument("--workers", type=int, default=1, help="loader processes of that training")
    parser.add_argument("--threads", type=int, default=1, help="of its networks")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.data or str(write_line_figures(Path(made), scenes=100, shards=4, size=arguments.size))
        jpeg = jpeg_images_per_s(folder, 500)
        print(f"JPEG decoder alone        {jpeg:7.0f} pictures/s a core")
        common = {"input_size_px": arguments.size, "synthetic_batch_size": 16}
        plain = {"brightness": 0, "contrast": 0, "saturation": 0, "white_balance": 0, "grayscale_probability": 0,
                 "blur_probability": 0, "noise_probability": 0, "cutout_probability": 0,
                 "background_swap_probability": 0}  # fmt: skip
        for name, more in (
            ("in memory", {}),
            ("in memory, crops only", {"photometric": plain}),
            ("from shards", {"cache_limit_mb": 0}),
        ):
            rate = pairs_per_s(folder, DataConfig(**common, **more), arguments.skeleton, arguments.batches)
            print(f"{name:25s} {rate:7.0f} pairs/s a core = {2 * rate:5.0f} pictures/s, {2 * rate / jpeg:.0%} of it")
        if arguments.train:
            wait = data_wait_pct(
                folder, arguments.size, arguments.skeleton, arguments.train, arguments.workers, arguments.threads
            )
            print(f"a training waits {wait:.1f}% of its time for data ({arguments.workers} loader processes)")


if __name__ == "__main__":
    main()
