"""Bakes a user's SMPL, SMPL-H or SMPL-X file, by way of the `smplx` package, into an npz that needs no torch.

The package runs once a file, in a process of its own. Before that the arrays are read here: an official .pkl would need
chumpy, which no longer imports, and unpickling runs whatever the file says; here it may name arrays and nothing else.

Conventions: metres; the model's axes (y up, facing +z, left = +x) become ours (z up, facing -y).
A change of what the members mean raises BAKE_VERSION; put it into the name of a cached file.
Members of the npz (V vertices, J joints, B shape and E expression coefficients, P = 9 (J - 1) pose features, F faces):
    kind                              smpl, smplh or smplx
    template [V,3], shape_offsets [B,V,3], expression_offsets [E,V,3], pose_offsets [P,V,3] float32
    joint_template [J,3], joint_shape_offsets [B,J,3], joint_expression_offsets [E,J,3] float64
    parents [J], weights [V,J] float32, faces [F,3] int32
    landmark_names, landmark_vertices  points on the surface that are single vertices, named as `smplx` does
"""

import contextlib
import io
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from posecore.dataset import write_atomically

BAKE_VERSION = 1

WORLD_FROM_MODEL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

# Parents of the first 22 joints, which all three models share.
BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

# What a pickle of plain values needs besides numpy; Python 2 has other names for the first two.
_PLAIN_GLOBALS = (
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("builtins", "object"), ("__builtin__", "object"),
    ("_codecs", "encode"),
)  # fmt: skip
_MOST_BETAS, _MOST_EXPRESSIONS = 300, 100


@dataclass(frozen=True)
class _Kind:
    """What makes a file one of a kind of model."""

    title: str
    num_vertices: int
    num_joints: int
    extra: tuple[str, ...]


_COMMON = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
_HANDS = ("hands_componentsl", "hands_componentsr", "hands_meanl", "hands_meanr")
_KINDS = {
    "smpl": _Kind("SMPL", 6890, 24, ()),
    "smplh": _Kind("SMPL-H", 6890, 52, _HANDS),
    "smplx": _Kind("SMPL-X", 10475, 55, (*_HANDS, "lmk_faces_idx", "lmk_bary_coords")),
}

TITLES = {kind: model.title for kind, model in _KINDS.items()}


def bake_smpl(file: Path, kind: str, out_npz: Path) -> None:
    """Check a model file and write the baked body, atomically; takes some seconds.

    Args:
        file: the user's .npz or .pkl. kind: "smpl", "smplh" or "smplx".

    Raises:
        ValueError: `file` is no such model, or `smplx` is not installed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(bake_in_this_process, file, kind, out_npz).result()


def read_model_file(file: Path, kind: str) -> dict[str, np.ndarray]:
    """The arrays of a model file, checked.

    Raises:
        ValueError: not readable, arrays missing, or shapes that are not this kind's.
    """
    wanted = (*_COMMON, *_KINDS[kind].extra)
    arrays = _read_npz(file, wanted) if file.suffix.lower() == ".npz" else _read_pickle(file, wanted)
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise ValueError(f"{file}: no {', '.join(missing)} in it, so it is no {_KINDS[kind].title} model")
    _check(file, kind, arrays)
    return arrays


def _check(file: Path, kind: str, arrays: dict[str, np.ndarray]) -> None:
    model = _KINDS[kind]
    vertices, joints = model.num_vertices, model.num_joints
    found = (arrays["v_template"].shape[0], arrays["J_regressor"].shape[0])
    if found != (vertices, joints):
        others = [name for name, other in _KINDS.items() if found == (other.num_vertices, other.num_joints)]
        hint = (
            f"it is a {_KINDS[others[0]].title} model: set subject.body={others[0]}"
            if others
            else "it is another model"
        )
        raise ValueError(
            f"{file}: {found[0]} vertices and {found[1]} joints, but {model.title} has {vertices} and {joints}; {hint}"
        )
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, None),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, vertices),
        "kintree_table": (2, joints),
        "weights": (vertices, joints),
        "f": (None, 3),
    }
    for name, shape in expected.items():
        actual = arrays[name].shape
        if len(actual) != len(shape) or any(want not in (None, have) for want, have in zip(shape, actual, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"{file}: {name} has the shape {actual}, expected ({wanted})")
        if not np.isfinite(np.asarray(arrays[name], np.float64)).all():
            raise ValueError(f"{file}: {name} holds values that are not finite")
    if arrays["f"].min() < 0 or arrays["f"].max() >= vertices:
        raise ValueError(f"{file}: f names vertices that are not there")
    if np.abs(arrays["weights"].sum(1) - 1).max() > 1e-3:
        raise ValueError(f"{file}: the rows of weights do not sum to 1")
    if tuple(arrays["kintree_table"][0, 1:22].astype(int)) != BODY_PARENTS[1:]:
        raise ValueError(f"{file}: kintree_table is not SMPL's tree of joints")


def _read_npz(file: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in wanted if name in data.files}
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"{file}: not a readable npz file ({error})") from None


def _read_pickle(file: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
        return {name: _as_array(content[name]) for name in wanted if name in content}
    except Exception as error:  # a foreign pickle can fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file}: not a readable model pickle ({reason}); an .npz of the same model will do") from None


class _Stub:
    """Stands in for an object of any class that a pickle names: keeps what was pickled and runs nothing."""

    source = ""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, *_: object) -> None:
        pass


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays, numbers and containers; anything else, from chumpy's arrays to an attacker's call, is a stub."""

    def find_class(self, module: str, name: str) -> Any:
        is_numpy = module.split(".")[0] == "numpy" and name in ("ndarray", "dtype", "_reconstruct", "scalar")
        if is_numpy or (module, name) in _PLAIN_GLOBALS:
            return super().find_class(module, name)
        return type("_Named", (_Stub,), {"source": f"{module}.{name}"})


def _as_array(value: Any) -> np.ndarray:
    if not isinstance(value, _Stub):
        return np.asarray(value)
    state, name = vars(value), value.source.split(".")[-1]
    if "x" in state and value.source.startswith("chumpy."):
        return np.asarray(state["x"])
    if name in ("csc_matrix", "csr_matrix"):
        shape = state.get("_shape") or state["shape"]
        major = np.repeat(np.arange(len(state["indptr"]) - 1), np.diff(state["indptr"]))
        dense = np.zeros(shape)
        dense[(state["indices"], major) if name == "csc_matrix" else (major, state["indices"])] = state["data"]
        return dense
    raise ValueError(f"an array in it is a {value.source}")


def bake_in_this_process(file: Path, kind: str, out_npz: Path) -> None:
    """What bake_smpl does in its own process, to which torch then clings."""
    arrays = read_model_file(file, kind)
    try:
        import smplx
        from smplx.utils import Struct
        from smplx.vertex_ids import vertex_ids
    except ImportError:
        raise ValueError(f"subject.body={kind} needs the packages smplx and torch; install posesynth[smplx]") from None
    hands = {} if kind == "smpl" else {"use_pca": False, "flat_hand_mean": True}
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:  # smplx prints warnings
        if kind == "smplx":  # it takes a path alone
            path = Path(folder) / "model.npz"
            np.savez(path, **arrays)
            model = smplx.SMPLX(
                str(path),
                num_betas=_MOST_BETAS,
                num_expression_coeffs=_MOST_EXPRESSIONS,
                use_face_contour=False,
                **hands,
            )
        else:
            build = smplx.SMPLH if kind == "smplh" else smplx.SMPL
            model = build("", data_struct=Struct(**arrays), num_betas=_MOST_BETAS, **hands)
    num_joints = _KINDS[kind].num_joints

    def in_world(offsets: np.ndarray) -> np.ndarray:
        return np.asarray(offsets, np.float64) @ WORLD_FROM_MODEL.T

    template = in_world(model.v_template.numpy())
    shape_offsets = in_world(np.moveaxis(model.shapedirs.numpy(), 2, 0))
    expressions = np.moveaxis(model.expr_dirs.numpy(), 2, 0) if kind == "smplx" else np.zeros((0, len(template), 3))
    expression_offsets = in_world(expressions)
    regressor = model.J_regressor.numpy().astype(np.float64)
    landmarks = vertex_ids["smplx" if kind == "smplx" else "smplh"]
    content = {
        "kind": kind,
        "template": template.astype(np.float32),
        "shape_offsets": shape_offsets.astype(np.float32),
        "expression_offsets": expression_offsets.astype(np.float32),
        "pose_offsets": in_world(model.posedirs.numpy().reshape(-1, len(template), 3)).astype(np.float32),
        "joint_template": regressor @ template,
        "joint_shape_offsets": regressor @ shape_offsets,
        "joint_expression_offsets": regressor @ expression_offsets,
        "parents": model.parents.numpy()[:num_joints].astype(np.int16),
        "weights": model.lbs_weights.numpy().astype(np.float32),
        "faces": np.asarray(arrays["f"], np.int32),
        "landmark_names": np.array(list(landmarks)),
        "landmark_vertices": np.array(list(landmarks.values()), np.int32),
    }
    out_npz.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    write_atomically(out_npz, buffer.getvalue())
