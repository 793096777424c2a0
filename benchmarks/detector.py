"""Holds rendered people and their labels against an independent detector: mediapipe's pose model, which never saw them.

Does a detector trained on photographs find our people, and does it put their joints where our labels are? Run in an
environment of its own, since mediapipe pins other packages: python -m venv E && E/bin/pip install mediapipe==0.10.21

synthgen render --recipe humans_dr.yaml --count 420 --set group.count=1 --set frames_per_scene=1 --out data/check
synthgen export data/check --format coco --out data/check_coco
E/bin/python benchmarks/detector.py data/check_coco --worst worst.png
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import mediapipe
import numpy as np

# mediapipe's landmark of each COCO keypoint
LANDMARKS = {
    "nose": 0, "left_eye": 2, "right_eye": 5, "left_ear": 7, "right_ear": 8, "left_shoulder": 11, "right_shoulder": 12,
    "left_elbow": 13, "right_elbow": 14, "left_wrist": 15, "right_wrist": 16, "left_hip": 23, "right_hip": 24,
    "left_knee": 25, "right_knee": 26, "left_ankle": 27, "right_ankle": 28,
}  # fmt: skip
_SHARE_OF_TORSO = 0.2
_BORDER = 0.2  # grey round each picture, share of its side: the detector looks for people with something round them
_NUM_WORST = 20
_TILE_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coco", type=Path, help="folder that `synthgen export --format coco` wrote")
    parser.add_argument("--count", type=int, default=300, help="people to look at")
    parser.add_argument("--least-height", type=float, default=0.5, help="of the person's box, share of the picture")
    parser.add_argument("--worst", type=Path, help="PNG with the twenty that were found and agree least")
    options = parser.parse_args()
    people = read_people(options.coco, options.least_height)[: options.count]
    detector = mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1)
    found, by_joint, by_level, ranked = 0, defaultdict(list), defaultdict(list), []
    for path, names, keypoints in people:
        image = cv2.imread(str(path))
        border = round(_BORDER * image.shape[0])
        framed = cv2.copyMakeBorder(image, *(border,) * 4, cv2.BORDER_CONSTANT, value=(128, 128, 128))
        result = detector.process(cv2.cvtColor(framed, cv2.COLOR_BGR2RGB))
        if result.pose_landmarks is None:
            continue
        found += 1
        landmarks = result.pose_landmarks.landmark
        estimate = np.array([(landmarks[LANDMARKS[n]].x, landmarks[LANDMARKS[n]].y) for n in names])
        estimate = estimate * [framed.shape[1], framed.shape[0]] - border
        error = np.linalg.norm(estimate - keypoints[:, :2], axis=1) / torso_px(names, keypoints)
        labelled = keypoints[:, 2] > 0
        for name, level, value in zip(np.array(names)[labelled], keypoints[labelled, 2], error[labelled], strict=True):
            by_joint[name].append(value <= _SHARE_OF_TORSO)
            by_level[int(level)].append(value <= _SHARE_OF_TORSO)
        ranked.append((float((error[labelled] <= _SHARE_OF_TORSO).mean()), path, image, keypoints, estimate))
    report(len(people), found, by_joint, by_level)
    if options.worst:
        write_worst(options.worst, sorted(ranked, key=lambda item: item[0])[:_NUM_WORST])


def read_people(coco: Path, least_height: float) -> list[tuple[Path, list[str], np.ndarray]]:
    """Picture, names and keypoints [17, 3] (x, y in pixels, COCO's v) of each picture with one person, tall enough."""
    (annotations,) = (coco / "annotations").glob("*.json")
    content = json.loads(annotations.read_text())
    names = content["categories"][0]["keypoints"]
    per_image = defaultdict(list)
    for annotation in content["annotations"]:
        per_image[annotation["image_id"]].append(annotation)
    people = []
    for image in content["images"]:
        own = per_image[image["id"]]
        if len(own) == 1 and own[0]["bbox"][3] >= least_height * image["height"]:
            keypoints = np.array(own[0]["keypoints"], dtype=float).reshape(-1, 3)
            people.append((coco / "images" / image["file_name"], names, keypoints))
    return people


def torso_px(names: list[str], keypoints: np.ndarray) -> float:
    """The longer of the torso's diagonals, shoulder to opposite hip; no less than the shoulders' or hips' width."""
    at = {name: keypoints[index, :2] for index, name in enumerate(names)}
    pairs = [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"), ("left_shoulder", "right_shoulder")]
    return max(float(np.linalg.norm(at[first] - at[second])) for first, second in pairs)


def report(total: int, found: int, by_joint: dict[str, list[bool]], by_level: dict[int, list[bool]]) -> None:
    """Print detection rate and PCK."""
    everything = [value for values in by_joint.values() for value in values]
    print(f"{total} people; the detector finds {found} ({found / total:.1%})")
    print(f"PCK@{_SHARE_OF_TORSO} of the torso on those: {np.mean(everything):.3f}")
    print(f"  joints labelled visible {np.mean(by_level[2]):.3f}, hidden {np.mean(by_level[1]):.3f}")
    for name in LANDMARKS:
        print(f"  {name:<15} {np.mean(by_joint[name]):.3f}")


def write_worst(path: Path, ranked: list) -> None:
    """A sheet: our labels in green, the detector's in red, joined by a line; the share that agrees below."""
    tiles = []
    for share, source, image, keypoints, estimate in ranked:
        scale = _TILE_PX / image.shape[0]
        tile = cv2.resize(image, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_CUBIC)
        for index in np.flatnonzero(keypoints[:, 2] > 0):
            ours = tuple(np.rint(keypoints[index, :2] * scale).astype(int).tolist())
            theirs = tuple(np.rint(estimate[index] * scale).astype(int).tolist())
            cv2.line(tile, ours, theirs, (255, 255, 255), 1, cv2.LINE_AA)
            cv2.circle(tile, theirs, 3, (60, 60, 240), -1, cv2.LINE_AA)
            cv2.circle(tile, ours, 3, (80, 220, 80), -1, cv2.LINE_AA)
        text = f"{source.stem}: {share:.0%}"
        cv2.putText(tile, text, (4, _TILE_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    rows = [np.hstack(tiles[start : start + 5]) for start in range(0, len(tiles), 5)]
    cv2.imwrite(str(path), np.vstack(rows))


if __name__ == "__main__":
    main()
