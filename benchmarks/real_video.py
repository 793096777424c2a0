"""Real video with an independent detector's joints beside it, in COCO's layout: to judge a model where no labels are.

mediapipe's pose model, which was trained on photographs, stands in for annotators: a check, not the truth. Of each
video the frames from --first on are taken, so that a model that was finetuned on the earlier ones is judged on frames
it never saw. Run in an environment of its own, since mediapipe pins other packages:
python -m venv E && E/bin/pip install mediapipe==0.10.21

E/bin/python benchmarks/real_video.py VIDEO... --first 70 --out data/people_judged
trainer evaluate --checkpoint RUN --benchmark coco --root data/people_judged

With --calibration FILE the videos are synchronous views of one person, each called as its camera. Joints are then
triangulated from all views of a moment, and what is written is where the 3D joints lie in each view, v 2 where three
agree: cameras correct one another, above all where one sees a joint badly. There is a truth for 3D as well
(`keypoints_3d_cam`, `camera_K`: trainer/benchmarks/coco_format.py). Pictures are undistorted.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from detector import LANDMARKS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from posecore.calibration import CalibratedCamera, Straightener, read_calibration, triangulate
from posecore.camera import project
from posecore.transforms import transform_points

_LEAST_VISIBILITY = 0.5  # mediapipe's own: below it a joint counts as hidden
_LEAST_MEAN_VISIBILITY = 0.6  # of a whole pose that is trusted
_MOST_OFF_PX = 25.0  # a joint's view that reprojects farther off, in pictures of 1000 px, is dropped, the worst first
_JOINTS_TO_SUBJECT = 0.07  # how far a person reaches beyond the box of the joints, share of its longer side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--first", type=int, default=0, help="first frame of each video that is taken")
    parser.add_argument("--step", type=int, default=1, help="take every n-th frame")
    parser.add_argument("--calibration", type=Path, help="cameras, called as the videos: triangulate their joints")
    parser.add_argument("--calibration-unit", choices=("m", "cm", "mm"), default="m", help="of TOML's translations")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cameras = None
    if options.calibration is not None:
        cameras = read_calibration(options.calibration, options.calibration_unit)
    pictures = options.out / "val2017"
    pictures.mkdir(parents=True)
    (options.out / "annotations").mkdir()
    images, annotations = [], []
    looked_at = 0
    found: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
    fitted: dict[str, CalibratedCamera] = {}
    for number, video in enumerate(options.videos):
        # One detector a video, no tracking: every frame is judged by itself.
        detector = mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1)
        for index, frame in frames_of(video, options.first, options.step):
            looked_at += 1
            height, width = frame.shape[:2]
            if cameras is not None:
                if video.stem not in fitted:
                    fitted[video.stem] = cameras[video.stem].fitted(width, height)
                    straighten = Straightener(fitted[video.stem], 1.0, (width, height))
                frame = straighten(frame)
            keypoints = detect(detector, frame)
            if keypoints is not None:
                found[index][video.stem] = keypoints
            elif cameras is None:
                continue
            identity = 100_000 * (number + 1) + index
            name = f"{video.stem}-{index:05d}.jpg"
            cv2.imwrite(str(pictures / name), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
            images.append({"id": identity, "file_name": name, "width": width, "height": height, "vid_id": video.stem})
            if cameras is None:
                annotations.append(annotation(identity, keypoints))
    if cameras is not None:
        images, annotations = in_all_views(images, found, fitted)
        kept = {image["file_name"] for image in images}
        for picture in pictures.iterdir():
            if picture.name not in kept:
                picture.unlink()
    category = {"id": 1, "name": "person", "keypoints": list(LANDMARKS), "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (options.out / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    print(f"{options.out}: {len(images)} of {looked_at} frames with a pose that the detector is sure of")


def in_all_views(
    images: list[dict], found: dict[int, dict[str, np.ndarray]], cameras: dict[str, CalibratedCamera]
) -> tuple[list[dict], list[dict]]:
    """The images of moments of which every joint is known in 3D, with their annotations.

    Args:
        images: of undistorted pictures. found: frame -> camera -> what was detected there, as `detect` gives it.
    """
    kept, annotations, off_px, num_views = [], [], [], []
    for index in sorted(found):
        names = list(found[index])
        pinholes = [cameras[name].pinhole for name in names]
        seen = np.stack([found[index][name] for name in names])
        joints = [agreed_joint(pinholes, seen[:, joint]) for joint in range(len(LANDMARKS))]
        if any(joint is None for joint in joints):
            continue
        joints_world = np.stack([place for place, _ in joints])
        agreeing = np.array([count for _, count in joints])
        num_views.append(agreeing)
        for pinhole, own in zip(pinholes, seen, strict=True):
            off_px.append(np.linalg.norm(project(pinhole, joints_world) - 0.5 - own[:, :2], axis=-1))
        for image in images:
            if image["id"] % 100_000 != index:
                continue
            pinhole = cameras[image["vid_id"]].pinhole
            places = project(pinhole, joints_world) - 0.5
            keypoints = np.column_stack([places, np.where(agreeing >= min(3, len(cameras)), 2, 1)])
            joints_cam = transform_points(pinhole.cam_from_world, joints_world)
            kept.append(image | {"camera_K": pinhole.K.tolist()})
            annotations.append(annotation(image["id"], keypoints) | {"keypoints_3d_cam": joints_cam.round(4).tolist()})
    if not annotations:
        raise SystemExit("no moment of which every joint agrees in two views: are the videos synchronous?")
    print(
        f"joints found lie {np.median(off_px):.1f} px (median) from the triangulated ones, 9 of 10 within "
        f"{np.quantile(off_px, 0.9):.1f}; a joint rests on {np.mean(num_views):.1f} of {len(cameras)} views"
    )
    return kept, annotations


def agreed_joint(pinholes: list, seen: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The place of a joint in the world [3] and how many views agree on it; None if no two do.

    The view that reprojects worst is dropped until all lie near enough.

    Args:
        seen: [V, 3] x, y in COCO's pixels, and v.
    """
    views = list(range(len(pinholes)))
    while len(views) >= 2:
        weight = np.where(seen[views, 2] == 2, 1.0, 0.3)
        place = triangulate([pinholes[view] for view in views], seen[views, :2] + 0.5, weight)
        off_px = [np.linalg.norm(project(pinholes[view], place) - 0.5 - seen[view, :2]) for view in views]
        sizes = [max(pinholes[view].width, pinholes[view].height) for view in views]
        off = 1000 * np.nan_to_num(off_px, nan=np.inf) / sizes
        if off.max() <= _MOST_OFF_PX:
            return place, len(views)
        views.pop(int(off.argmax()))
    return None


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
