"""Real video with an independent detector's joints beside it, in COCO's layout: to judge a model where no labels are.

mediapipe's pose model, which was trained on photographs, stands in for annotators: a check, not the truth. Of each
video the frames from --first on are taken, so that a model that was finetuned on the earlier ones is judged on frames
it never saw. Run in an environment of its own, since mediapipe pins other packages:
python -m venv E && E/bin/pip install mediapipe==0.10.21

E/bin/python benchmarks/real_video.py VIDEO... --first 70 --out data/people_judged
trainer evaluate --checkpoint RUN --benchmark coco --root data/people_judged
"""

import argparse
import json
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from detector import LANDMARKS

_LEAST_VISIBILITY = 0.5  # mediapipe's own: below it a joint counts as hidden
_LEAST_MEAN_VISIBILITY = 0.6  # of a whole pose that is trusted
_JOINTS_TO_SUBJECT = 0.07  # how far a person reaches beyond the box of the joints, share of its longer side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--first", type=int, default=0, help="first frame of each video that is taken")
    parser.add_argument("--step", type=int, default=1, help="take every n-th frame")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pictures = options.out / "val2017"
    pictures.mkdir(parents=True)
    (options.out / "annotations").mkdir()
    images, annotations = [], []
    looked_at = 0
    for number, video in enumerate(options.videos):
        # One detector a video, no tracking: every frame is judged by itself.
        detector = mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1)
        for index, frame in frames_of(video, options.first, options.step):
            looked_at += 1
            keypoints = detect(detector, frame)
            if keypoints is None:
                continue
            identity = 100_000 * (number + 1) + index
            name = f"{video.stem}-{index:05d}.jpg"
            cv2.imwrite(str(pictures / name), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
            height, width = frame.shape[:2]
            images.append({"id": identity, "file_name": name, "width": width, "height": height, "vid_id": video.stem})
            annotations.append(annotation(identity, keypoints))
    category = {"id": 1, "name": "person", "keypoints": list(LANDMARKS), "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (options.out / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    print(f"{options.out}: {len(images)} of {looked_at} frames with a pose that the detector is sure of")


def frames_of(video: Path, first: int, step: int):
    """Numbers and BGR pictures of every `step`-th frame from `first` on."""
    capture = cv2.VideoCapture(str(video))
    index = 0
    while True:
        is_there, frame = capture.read()
        if not is_there:
            return
        if index >= first and (index - first) % step == 0:
            yield index, frame
        index += 1


def detect(detector, frame: np.ndarray) -> np.ndarray | None:
    """[17, 3] COCO keypoints in COCO's pixels, v 2 seen and 1 hidden; None if no one is there or the pose is unsure."""
    result = detector.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    if result.pose_landmarks is None:
        return None
    landmarks = [result.pose_landmarks.landmark[index] for index in LANDMARKS.values()]
    visibility = np.array([landmark.visibility for landmark in landmarks])
    if visibility.mean() < _LEAST_MEAN_VISIBILITY:
        return None
    places = np.array([(landmark.x, landmark.y) for landmark in landmarks]) * frame.shape[1::-1] - 0.5
    return np.column_stack([places, np.where(visibility >= _LEAST_VISIBILITY, 2, 1)])


def annotation(identity: int, keypoints: np.ndarray) -> dict:
    """A COCO annotation, its box that of the joints and a margin."""
    low, high = keypoints[:, :2].min(0) + 0.5, keypoints[:, :2].max(0) + 0.5
    margin = _JOINTS_TO_SUBJECT * (high - low).max()
    x, y, width, height = *(low - margin), *(high - low + 2 * margin)
    return {
        "id": identity,
        "image_id": identity,
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": len(keypoints),
        "keypoints": [round(float(value), 2) for value in keypoints.ravel()],
        "bbox": [round(float(value), 2) for value in (x, y, width, height)],
        "area": round(float(width * height), 2),
    }


if __name__ == "__main__":
    main()
