"""Whether labels are right: projection, visible joints against mask and depth, and rays against the pass method.

python benchmarks/labels.py                                  # 300 frames of humans_dr with companions, pyrender, 256 px
python benchmarks/labels.py --engine cycles --size 128 --frames 100
python benchmarks/labels.py --overlays overlays              # 40 pictures, each joint in its visibility's colour

Overlays: green visible, orange hidden by the subject itself, pink by something else. The pass method, which synthgen
used before, calls a joint hidden if the depth pass at its pixel is nearer than the joint by more than flesh; it stays
here as the reference to compare with.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE, Sample, Subject, inside_frame
from posecore.skeleton import load_skeleton
from synthgen.catalog import asset_path, load_library
from synthgen.engines.opening import open_renderer
from synthgen.labels import label
from synthgen.recipe import load_recipe
from synthgen.renderer import Passes
from synthgen.sampling.scene import sample_scene
from synthgen.stage import build_stage
from synthgen.visibility import flesh_m, hidden_shares, joint_visibility

COLOURS = {HIDDEN_BY_OTHER: (255, 60, 200), HIDDEN_BY_SELF: (255, 160, 0), VISIBLE: (60, 255, 60)}
NAMES = {OUTSIDE: "outside", HIDDEN_BY_OTHER: "by other", HIDDEN_BY_SELF: "by self", VISIBLE: "visible"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="humans_dr")
    parser.add_argument("--engine", default="pyrender", choices=("pyrender", "cycles", "painter"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--set", action="append", default=[], help="override of the recipe, as in synthgen render")
    parser.add_argument("--overlays", type=Path, help="folder for 40 pictures with joints coloured by visibility")
    options = parser.parse_args()
    crowd = ("group.count={uniform: [1, 3]}", "world.occluders={uniform: [0, 2]}", "views_per_frame=2")
    quick = (f"engine.name={options.engine}", "engine.samples=1", "engine.denoise=false")
    size = (f"image.width={options.size}", f"image.height={options.size}")
    recipe = load_recipe(options.recipe, (*crowd, *quick, *size, *options.set))
    library = load_library(recipe)
    renderer = open_renderer(recipe.engine, asset_path, threads=0)
    tally = Tally()
    scenes = -(-options.frames // recipe.samples_per_scene)
    for scene in range(scenes):
        stage = build_stage(sample_scene(recipe, scene, library.clip_durations_s), library)
        renderer.set_stage(stage)
        for frame in range(recipe.frames_per_scene):
            for view in range(recipe.views_per_frame):
                passes = renderer.render(frame, view)
                sample = label(stage, passes, frame, view, recipe, {})
                tally.frames += 1
                for subject in sample.subjects:
                    number = subject.id - 1
                    flesh = flesh_m(stage.subjects[frame][number].limb_radius_m)
                    tally.add(sample, subject, passes, flesh)
                    began = time.process_time()
                    joint_visibility(stage, frame, view, number)
                    hidden_shares(stage, frame, view, number, passes)
                    tally.seconds += time.process_time() - began
                if options.overlays and tally.frames <= 40:
                    options.overlays.mkdir(parents=True, exist_ok=True)
                    picture = draw(sample)
                    cv2.imwrite(str(options.overlays / f"{tally.frames:02d}.png"), picture[..., ::-1])
    renderer.close()
    tally.report(f"{recipe.name}, {recipe.engine.name}, {options.size} px")


class Tally:
    """Counts over all subjects of all frames."""

    def __init__(self) -> None:
        self.frames = self.subjects = self.visible = self.off_mask = self.behind = 0
        self.projection_px = self.seconds = 0.0
        self.confusion = np.zeros((4, 4), dtype=int)
        self.differ: Counter[str] = Counter()

    def add(self, sample: Sample, subject: Subject, passes: Passes, flesh: np.ndarray) -> None:
        self.subjects += 1
        homogeneous = np.column_stack([subject.joints_world_m, np.ones(len(subject.joints_world_m))])
        in_camera = (sample.camera.cam_from_world @ homogeneous.T).T[:, :3]
        pixels = (sample.camera.K @ in_camera.T).T
        error_px = np.abs(pixels[:, :2] / pixels[:, 2:] - subject.joints_px)
        self.projection_px = max(self.projection_px, float(error_px.max()))
        visible = subject.visibility == VISIBLE
        self.visible += int(visible.sum())
        self.off_mask += int((distance_to_mask_px(sample, subject)[visible] > 2).sum())
        # a pixel's centre lies up to 0.7 px beside the joint: the farthest of the nine about it is what the joint shows
        depth_m = cv2.dilate(np.minimum(passes.depth_m, 1e6), np.ones((3, 3), np.uint8))
        row, column = pixel_of(sample, subject)
        in_front_m = subject.joints_cam_m[:, 2] - depth_m[row, column]
        self.behind += int((visible & (in_front_m > flesh)).sum())
        by_passes = visibility_by_passes(sample, subject, passes, flesh)
        np.add.at(self.confusion, (by_passes, subject.visibility), 1)
        names = load_skeleton(subject.skeleton).joints
        self.differ.update(
            f"{names[joint]}: {NAMES[by_passes[joint]]} -> {NAMES[subject.visibility[joint]]}"
            for joint in np.flatnonzero(by_passes != subject.visibility)
        )

    def report(self, what: str) -> None:
        total, agree = self.confusion.sum(), np.trace(self.confusion)
        print(f"{what}: {self.frames} frames, {self.subjects} subjects, {total} joints")
        print(f"3D -> 2D: at most {self.projection_px:.1e} px off")
        print(f"visible joints within 2 px of the mask: {1 - self.off_mask / self.visible:.3%} of {self.visible}")
        print(f"visible joints behind the depth pass by more than flesh and cloth: {self.behind}")
        print(f"labels by rays: {1000 * self.seconds / self.subjects:.1f} ms of CPU a subject")
        print(f"agreement with the pass method: {agree / total:.2%}; rows passes, columns rays:")
        for level, row in enumerate(self.confusion):
            print(f"  {NAMES[level]:<9}" + "".join(f"{count:8d}" for count in row))
        print("most frequent differences: " + ", ".join(f"{what} {n}" for what, n in self.differ.most_common(12)))


def pixel_of(sample: Sample, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the pixel that each joint lies in; 0 for joints outside."""
    inside = inside_frame(subject.joints_px, sample.camera.width, sample.camera.height)
    column, row = np.floor(np.where(inside[:, None], subject.joints_px, 0)).astype(int).T
    return row, column


def distance_to_mask_px(sample: Sample, subject: Subject) -> np.ndarray:
    """[J] distance from the pixel of each joint to the nearest of the subject's."""
    outside_mask = (sample.mask != subject.id).astype(np.uint8)
    if outside_mask.all():
        return np.full(len(subject.joints_px), np.inf)
    row, column = pixel_of(sample, subject)
    return cv2.distanceTransform(outside_mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[row, column]


def visibility_by_passes(sample: Sample, subject: Subject, passes: Passes, flesh: np.ndarray) -> np.ndarray:
    """Visibility [J] from depth and instances at each joint's pixel."""
    row, column = pixel_of(sample, subject)
    hidden = subject.joints_cam_m[:, 2] - passes.depth_m[row, column] > flesh
    by_self = passes.instances[row, column] == subject.id
    level = np.where(hidden, np.where(by_self, HIDDEN_BY_SELF, HIDDEN_BY_OTHER), VISIBLE)
    inside = inside_frame(subject.joints_px, sample.camera.width, sample.camera.height)
    return np.where(inside, level, OUTSIDE)


def draw(sample: Sample) -> np.ndarray:
    """The picture, three times as large, a dot for each joint in the colour of its visibility."""
    picture = cv2.resize(sample.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    for subject in sample.subjects:
        for place, level in zip(subject.joints_px, subject.visibility, strict=True):
            if level != OUTSIDE:
                centre = tuple(np.rint(3 * place).astype(int).tolist())
                cv2.circle(picture, centre, 4, (0, 0, 0), -1, cv2.LINE_AA)
                cv2.circle(picture, centre, 3, COLOURS[int(level)], -1, cv2.LINE_AA)
    return picture


if __name__ == "__main__":
    main()
