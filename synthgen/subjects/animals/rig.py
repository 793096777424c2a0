"""The one rig that all four-legged bases share, and the baked body of a base: mesh, weights, landmarks and clips.

Conventions: metres, z up, facing -y, the animal's left at +x, standing on z = 0. Bones that come in pairs end in _L or
_R. A bone's head is the point that it turns about. Rotations are global and relative to the standing rest pose.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from posecore.dataset import write_atomically

_LEGS = (
    ("scapula", "spine2"), ("upper_arm", "scapula"), ("forearm", "upper_arm"), ("hand", "forearm"), ("finger", "hand"),
    ("hip", "pelvis"), ("thigh", "hip"), ("shin", "thigh"), ("cannon", "shin"), ("foot", "cannon"), ("toe", "foot"),
)  # fmt: skip
_MIDDLE = (
    ("pelvis", ""), ("spine1", "pelvis"), ("spine2", "spine1"), ("spine3", "spine2"), ("neck1", "spine3"),
    ("neck2", "neck1"), ("neck3", "neck2"), ("head", "neck3"), ("jaw", "head"), ("tail1", "pelvis"), ("tail2", "tail1"),
    ("tail3", "tail2"), ("tail4", "tail3"), ("tail5", "tail4"), ("tail6", "tail5"),
)  # fmt: skip
_EARS = (("ear1", "head"), ("ear2", "ear1"))


def _paired(table: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    names = {name for name, _ in table}
    return [(f"{name}_{end}", f"{up}_{end}" if up in names else up) for end in "LR" for name, up in table]


_TABLE = [*_MIDDLE, *_paired(_EARS), *_paired(_LEGS)]
BONES = tuple(name for name, _ in _TABLE)
"""Names, parents first."""
PARENTS = tuple(BONES.index(up) if up else -1 for _, up in _TABLE)
BONE = {name: index for index, name in enumerate(BONES)}
MIRRORED = np.array([BONE[name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name[-2] == "_" else name] for name in BONES])
"""[B] the bone on the other side."""
TAIL = tuple(name for name in BONES if name.startswith("tail"))

PART_NAMES = ("fur", "mane", "eyes", "iris", "nose", "horns", "hooves", "mouth", "udder")
"""What a base's faces are: mane is also the long hair of a horse's tail; eyes is the white, iris all that is dark;
mouth is what shows when it opens."""


@dataclass(frozen=True, eq=False)
class AnimalClip:
    """A base's motion, for any base.

    Attributes:
        turns: [T,B,3] rotation vectors of each bone relative to its parent, radians, 30 a second.
        clearances: [T,2] how high the lowest point of the fore and of the hind part is, in heights of the hip.
        loops: whether the end goes over into the beginning; else the last moment stays.
    """

    turns: np.ndarray
    clearances: np.ndarray
    loops: bool

    @property
    def duration_s(self) -> float:
        """From the first to the last moment."""
        return (len(self.turns) - 1) / CLIP_RATE_HZ


CLIP_RATE_HZ = 30


@dataclass(frozen=True, eq=False)
class AnimalBody:
    """A base at rest.

    Attributes:
        base: its name.
        vertices: [V,3] float32 m. weights: [V,B] float32, rows sum to 1.
        faces: [F,4] int32; face_parts: [F] uint8, index into PART_NAMES.
        heads: [B,3] m.
        landmarks: surface joint of the skeleton `quadruped` -> the vertices whose mean it is.
        normals: [V,3] at rest.
        uv: [F,4,2] or None.
    """

    base: str
    vertices: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    heads: np.ndarray
    landmarks: dict[str, np.ndarray]
    normals: np.ndarray
    uv: np.ndarray | None = None

    @cached_property
    def landmark_points(self) -> dict[str, np.ndarray]:
        """Each landmark at rest [3], m."""
        return {name: self.vertices[index].mean(0, dtype=np.float64) for name, index in self.landmarks.items()}

    @cached_property
    def vertex_parts(self) -> np.ndarray:
        """[V,P] whether a face of each part touches the vertex."""
        touches = np.zeros((len(self.vertices), len(PART_NAMES)), bool)
        touches[self.faces.reshape(-1), np.repeat(self.face_parts, 4)] = True
        return touches

    @staticmethod
    def load(path: Path) -> "AnimalBody":
        """Read what `save_animal` wrote."""
        with np.load(path) as stored:
            content = {name: stored[name] for name in stored.files if not name.startswith("clip")}
        landmarks = np.split(content["landmark_vertices"], content["landmark_ends"][:-1])
        return AnimalBody(
            base=str(content["base"]),
            landmarks=dict(zip(content["landmark_names"].tolist(), landmarks, strict=True)),
            uv=content.get("uv"),
            **{name: content[name] for name in _ARRAYS},
        )


_ARRAYS = ("vertices", "weights", "faces", "face_parts", "heads", "normals")


def save_animal(body: AnimalBody, clips: dict[str, AnimalClip], path: Path) -> None:
    """Write a base and its motions as one npz, which appears by rename."""
    content = {name: getattr(body, name) for name in (*_ARRAYS, "base")}
    if body.uv is not None:
        content["uv"] = body.uv
    content["landmark_names"] = np.array(list(body.landmarks))
    content["landmark_vertices"] = np.concatenate(list(body.landmarks.values()))
    content["landmark_ends"] = np.cumsum([len(index) for index in body.landmarks.values()])
    if clips:
        content["clip_names"] = np.array(list(clips))
        content["clip_loops"] = np.array([clip.loops for clip in clips.values()])
        content["clip_ends"] = np.cumsum([len(clip.turns) for clip in clips.values()])
        content["clip_turns"] = np.concatenate([clip.turns for clip in clips.values()]).astype(np.float32)
        content["clip_clearances"] = np.concatenate([clip.clearances for clip in clips.values()])
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content)
    write_atomically(path, buffer.getvalue())


def load_animal_clips(path: Path) -> dict[str, AnimalClip]:
    """The motions in what `save_animal` wrote, by name."""
    with np.load(path) as stored:
        if "clip_names" not in stored.files:
            return {}
        names, loops, ends = (stored[f"clip_{name}"] for name in ("names", "loops", "ends"))
        turns, clearances = (np.split(stored[f"clip_{name}"], ends[:-1]) for name in ("turns", "clearances"))
    return {
        str(name): AnimalClip(own_turns.astype(np.float64), own_clearances, bool(does_loop))
        for name, own_turns, own_clearances, does_loop in zip(names, turns, clearances, loops, strict=True)
    }


def lay_tail(
    bone_heads: np.ndarray, given: np.ndarray, vertices: np.ndarray, heads: np.ndarray, weights: np.ndarray
) -> None:
    """Divide a tail of any number of bones into ours, alike in length; fills `heads` and `weights`.

    Args:
        bone_heads: [N,3]. given: [V,N] weights of the tail's own bones.
    """
    share = given.sum(1)
    own = given.argmax(1)
    on_last = np.flatnonzero((share > 0.5) & (own == len(bone_heads) - 1))
    from_last = np.linalg.norm(vertices[on_last] - bone_heads[-1], axis=1)
    line = np.concatenate([bone_heads, vertices[on_last[from_last.argmax()]][None]])
    steps = np.diff(line, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # Along the line only bones next to a vertex's own count, so that a curled tail does not jump across.
    along = np.einsum("vni,ni->vn", vertices[:, None] - line[:-1], steps) / lengths**2
    along = np.clip(along, 0, 1)
    off = np.linalg.norm(vertices[:, None] - (line[:-1] + along[..., None] * steps), axis=2)
    off[np.abs(np.arange(len(steps)) - own[:, None]) > 1] = np.inf
    nearest = off.argmin(1)
    arc = starts[nearest] + along[np.arange(len(vertices)), nearest] * lengths[nearest]
    position = np.clip(arc / starts[-1] * len(TAIL) - 0.5, 0, len(TAIL) - 1)
    for number, name in enumerate(TAIL):
        weights[:, BONE[name]] += share * np.clip(1 - np.abs(position - number), 0, 1)
        at = starts[-1] * number / len(TAIL)
        heads[BONE[name]] = [np.interp(at, starts, line[:, axis]) for axis in range(3)]
