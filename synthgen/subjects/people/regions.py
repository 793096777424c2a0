"""Where things are on the human body: hairline, brows, beard, cheeks, knuckles.

MakeHuman's vertices keep their meaning whatever the shape, so regions are laid out once, on the neutral body (metres, z
up, facing -y), and hold for everybody. A field is in metres and negative inside; a weight is 1 inside and fades to 0.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from synthgen.subjects.mesh import ripple, vertex_normals
from synthgen.subjects.people.body import HumanBody

_BROW_COLUMNS = 12
_RIBBON_SUPPORT = 6  # vertices that carry each of a ribbon's points


@dataclass(frozen=True, eq=False)
class Ribbon:
    """Points that lie on the skin of any body: means of vertices, vertex and weight [N,K], plus off [N,3] m.

    Attributes:
        upwards: [N] m, how far each point lies above the ribbon's middle.
    """

    vertex: np.ndarray
    weight: np.ndarray
    off: np.ndarray
    upwards: np.ndarray


@dataclass(frozen=True, eq=False)
class Regions:
    """Fields and weights over all vertices [V] of the baked body.

    Attributes:
        head: 1 on head and upper neck. scalp, beard, moustache, goatee: fields. brows: two bands of 3 rows.
        temples: how much nearer the hairline is to the forehead's corners than to the ears, m: what recedes first.
        polar: angle from the crown, as seen from the head's middle, radians.
        blush: cheeks, nose, ears, knuckles, elbows, knees, heels. palms: palms and soles. sockets: round the eyes.
        nails, mouth, lips: painted weights. fringe: the middle of the forehead, where a fringe hangs.
        shaved: where a beard would grow.
    """

    head: np.ndarray
    scalp: np.ndarray
    temples: np.ndarray
    polar: np.ndarray
    brows: Ribbon
    beard: np.ndarray
    moustache: np.ndarray
    goatee: np.ndarray
    blush: np.ndarray
    palms: np.ndarray
    sockets: np.ndarray
    nails: np.ndarray
    mouth: np.ndarray
    lips: np.ndarray
    shaved: np.ndarray
    fringe: np.ndarray


@lru_cache(maxsize=2)
def body_regions(body: HumanBody) -> Regions:
    """The regions of a baked body."""
    place = body.template.astype(np.float64)
    _, y, z = place.T
    landmarks = {name: weight @ place[index] for name, (index, weight) in body.keypoints.items()}
    lips = body.masks["lips"] / 255.0
    head = body.bone_weights[:, [body.bone(name) for name in ("neck03", "head")]].sum(1)
    beard, moustache, goatee = _beard_fields(place, landmarks, lips, head)
    middle = np.array([0, -0.03, landmarks["left_eye"][2] + 0.02])
    away = place - middle
    return Regions(
        head=head,
        scalp=_scalp_field(place, landmarks, head),
        temples=_blob(place, (0.055, -0.105, 0.80), 0.035) + _blob(place, (-0.055, -0.105, 0.80), 0.035),
        polar=np.arctan2(np.hypot(away[:, 0], away[:, 1]), away[:, 2]),
        brows=_brow_ribbon(place, body, landmarks),
        beard=beard,
        moustache=moustache,
        goatee=goatee,
        blush=_blush(body, place, landmarks, lips, head),
        palms=_palms(body, place),
        sockets=sum(_blob(place, landmarks[f"{side}_eye"] + [0, 0, 0.004], 0.014) for side in ("left", "right")),
        nails=np.maximum(body.masks["fingernails"], body.masks["toenails"]) / 255.0,
        mouth=np.clip(body.masks["mouth"] / 255.0 - lips, 0, 1),
        lips=lips,
        shaved=_smoothed(np.clip(0.5 - beard / 0.014, 0, 1), body.faces["body"]) * (1 - lips),
        fringe=np.clip((landmarks["left_ear"][1] - 0.02 - y) / 0.04, 0, 1) * (z > landmarks["left_eye"][2]),
    )


def _scalp_field(place: np.ndarray, landmarks: dict[str, np.ndarray], head: np.ndarray) -> np.ndarray:
    """Above a hairline that runs from the forehead over the temples round the ears to the nape."""
    _, y, z = place.T
    eye, ear = landmarks["left_eye"], landmarks["left_ear"]
    forehead_z, ear_z, nape_z = eye[2] + 0.068, ear[2] + 0.012, ear[2] - 0.055
    forwards = np.clip((ear[1] - y) / (ear[1] - eye[1] + 0.012), 0, 1)
    backwards = np.clip((y - ear[1] - 0.008) / 0.04, 0, 1)
    # Sideburns before the ear, then up the temple and level over the forehead.
    line_z = ear_z + (forehead_z - ear_z) * np.clip((forwards - 0.2) / 0.42, 0, 1) ** 0.8
    line_z = line_z + (nape_z - ear_z) * backwards + 0.006 * ripple(1.6 * place)
    field = np.where(head > 0.3, line_z - z, 0.1)
    for side in ("left_ear", "right_ear"):
        away = (place - landmarks[side] - [0, 0.006, 0]) / [1.0, 0.75, 1.35]
        field = np.maximum(field, 0.026 - np.linalg.norm(away, axis=1))
    return field


def _brow_ribbon(place: np.ndarray, body: HumanBody, landmarks: dict[str, np.ndarray]) -> Ribbon:
    """A band over the left eye and one over the right: three rows upwards, columns from the nose outwards."""
    eye = landmarks["left_eye"]
    share = np.linspace(0, 1, _BROW_COLUMNS)
    middle = np.stack(
        [eye[0] - 0.021 + 0.043 * share, eye[2] + 0.0175 + 0.005 * np.sin(0.9 * np.pi * share) - 0.003 * share], 1
    )
    half = 0.0042 * (1 - 0.65 * share) * np.sqrt(np.clip(8 * share + 0.25, 0, 1))
    face = np.unique(body.faces["body"])
    face = face[(place[face, 1] < eye[1] + 0.03) & (np.abs(place[face, 2] - eye[2] - 0.015) < 0.03)]
    wanted = np.concatenate(
        [[sign, 1] * np.column_stack([middle[:, 0], middle[:, 1] + up * half]) for sign in (1, -1) for up in (-1, 0, 1)]
    )
    away = np.linalg.norm(place[face][:, [0, 2]] - wanted[:, None], axis=2)
    nearest = np.argsort(away, axis=1)[:, :_RIBBON_SUPPORT]
    weight = 1 / (np.take_along_axis(away, nearest, 1) + 5e-4) ** 2
    weight /= weight.sum(1, keepdims=True)
    vertex = face[nearest]
    off = np.zeros((len(wanted), 3))
    off[:, [0, 2]] = wanted - (weight[..., None] * place[vertex][..., [0, 2]]).sum(1)
    return Ribbon(vertex, weight, off, np.tile(np.concatenate([-half, 0 * half, half]), 2))


def _beard_fields(
    place: np.ndarray, landmarks: dict[str, np.ndarray], lips: np.ndarray, head: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Full beard, moustache alone, and chin beard with moustache."""
    x, y, z = place.T
    ear, lip = landmarks["left_ear"], (lips[:, None] * place).sum(0) / lips.sum()
    chin_z = lip[2] - 0.045
    # The cheek line falls from before the ear to the corner of the mouth; the neck line rises under the jaw.
    to_mouth = np.clip((ear[1] - 0.02 - y) / (ear[1] - 0.02 - lip[1] - 0.012), 0, 1)
    cheek_z = ear[2] - 0.005 + (lip[2] + 0.012 - ear[2] + 0.005) * to_mouth**0.7
    neck_z = chin_z - 0.012 + 0.28 * np.clip(y - lip[1], 0, 0.1)
    outside_lips = np.where(lips > 0.3, 0.01, -0.05)
    inside_mouth = np.where((np.abs(x) < 0.03) & (y > lip[1] + 0.018) & (z > chin_z + 0.004), 0.02, -0.05)
    skin = np.maximum(np.where(head > 0.3, -0.05, 0.1), np.maximum(outside_lips, inside_mouth))
    beard = np.maximum.reduce([z - cheek_z, neck_z - z, y - (ear[1] - 0.012), skin])
    below_nose = np.maximum.reduce([z - (lip[2] + 0.0175), lip[2] - 0.002 - z, np.abs(x) - 0.029, skin])
    # Full in the middle, lower at its ends, clear of the nostrils.
    moustache = np.maximum(below_nose, z - (lip[2] + 0.0185 - 0.18 * np.abs(x)))
    chin = np.maximum.reduce([z - (lip[2] - 0.012), neck_z - z, np.abs(x) - 0.024, skin])
    round_mouth = np.maximum.reduce(
        [np.abs(np.abs(x) - 0.0285) - 0.0045, z - (lip[2] + 0.006), lip[2] - 0.025 - z, skin]
    )
    return np.minimum(beard, moustache), moustache, np.minimum.reduce([moustache, chin, round_mouth])


def _blush(
    body: HumanBody, place: np.ndarray, landmarks: dict[str, np.ndarray], lips: np.ndarray, head: np.ndarray
) -> np.ndarray:
    eye, nose = landmarks["left_eye"], landmarks["nose"]
    total = 0.8 * _blob(place, nose - np.array([0, 0, 0.003]), 0.014)
    for sign in (1, -1):
        total += _blob(place, (sign * 0.043, eye[1] + 0.005, eye[2] - 0.042), 0.022)
    for side in ("left", "right"):
        total += 0.7 * _blob(place, landmarks[f"{side}_ear"], 0.03)
    for side in "LR":
        joints = [f"finger{n}-{k}" for n in (2, 3, 4, 5) for k in (1, 2)]
        for name, radius, strength in (("lowerarm01", 0.035, 0.7), ("lowerleg01", 0.05, 0.6)):
            total += strength * _blob(place, body.head_template[body.bone(f"{name}.{side}")], radius)
        for name in joints:
            total += 0.35 * _blob(place, body.head_template[body.bone(f"{name}.{side}")], 0.009)
        total += 0.5 * _blob(place, landmarks["left_heel" if side == "L" else "right_heel"], 0.035)
    return np.clip(total, 0, 1)


def _palms(body: HumanBody, place: np.ndarray) -> np.ndarray:
    """The side of the hand towards the body, and the soles."""
    normals = vertex_normals(body.template, body.faces["body"])
    total = np.zeros(len(place))
    for side, sign in (("L", 1), ("R", -1)):
        hand = [
            k
            for k, name in enumerate(body.bone_names)
            if name.startswith(("finger", "metacarpal")) and name.endswith(side)
        ]
        knuckles = [body.head_template[body.bone(f"finger{n}-1.{side}")] for n in (2, 5)]
        wrist = body.head_template[body.bone(f"wrist.{side}")]
        towards_palm = sign * np.cross(knuckles[0] - wrist, knuckles[1] - wrist)
        towards_palm /= np.linalg.norm(towards_palm)
        if towards_palm @ [-sign, 0, 0] < 0:
            towards_palm = -towards_palm
        total += body.bone_weights[:, hand].sum(1) * np.clip(normals @ towards_palm * 1.5, 0, 1)
        foot = [k for k, name in enumerate(body.bone_names) if name.startswith(("foot", "toe")) and name.endswith(side)]
        total += body.bone_weights[:, foot].sum(1) * np.clip(-normals[:, 2] * 1.5 - 0.3, 0, 1)
    return np.clip(total, 0, 1)


def _smoothed(weight: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Weights [V] spread over neighbouring faces, so that coarse vertices draw no ragged edge."""
    count = np.maximum(np.bincount(faces.reshape(-1), minlength=len(weight)), 1)
    for _ in range(3):
        weight = np.bincount(faces.reshape(-1), np.repeat(weight[faces].mean(1), 4), minlength=len(weight)) / count
    return weight


def _blob(place: np.ndarray, centre: np.ndarray | tuple[float, float, float], radius: float) -> np.ndarray:
    """Gaussian weight about a point."""
    return np.exp(-0.5 * ((place - np.asarray(centre)) ** 2).sum(1) / radius**2)
