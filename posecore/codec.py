"""Samples to and from the members of a WebDataset record; what is encoded decodes to the same arrays.

meta.json keeps the names of the sample's fields. Numbers are float64 in full precision, so decode(encode(s)) equals s,
but for the image where the recipe chose JPEG: there the stored bytes are the truth.
"""

import io
import json
from typing import Any

import cv2
import numpy as np

from posecore.camera import Camera
from posecore.errors import UserError
from posecore.sample import FORMAT_VERSION, RealFrame, Sample, Subject

LAYERS = ("image", "mask", "depth", "normal", "parts")
REQUIRED_MEMBERS = frozenset({"meta.json", "mask.png"})

_ARRAYS = ("joints_px", "joints_cam_m", "joints_world_m", "visibility", "box_px")


def encode(sample: Sample, image_format: str = "jpg", quality: int = 95) -> dict[str, bytes]:
    """Members of one record, names without the key.

    Args:
        image_format: "jpg" or "png". quality: of the JPEG, 1..100.
    """
    members = {f"image.{image_format}": encode_image(sample.image, image_format, quality)}
    members["mask.png"] = encode_image(sample.mask, "png")
    if sample.depth_m is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, depth_m=sample.depth_m.astype(np.float16))
        members["depth.npz"] = buffer.getvalue()
    if sample.normal is not None:
        members["normal.png"] = encode_image(sample.normal, "png")
    if sample.parts is not None:
        members["parts.png"] = encode_image(sample.parts, "png")
    members["meta.json"] = _json_bytes(sample_meta(sample))
    return members


def sample_meta(sample: Sample) -> dict[str, Any]:
    """The content of meta.json."""
    camera = sample.camera
    return {
        "format_version": FORMAT_VERSION,
        "key": sample.key,
        "scene": sample.scene,
        "frame": sample.frame,
        "view": sample.view,
        "camera": {
            "width": camera.width,
            "height": camera.height,
            "K": camera.K.tolist(),
            "cam_from_world": camera.cam_from_world.tolist(),
        },
        "subjects": [_subject_meta(subject) for subject in sample.subjects],
        "provenance": sample.provenance,
    }


def decode(members: dict[str, bytes], layers: tuple[str, ...] = LAYERS, provenance: bool = True) -> Sample:
    """One sample from its members; layers that are not asked for are not decoded (image and mask: then empty arrays).

    Args:
        provenance: False leaves it empty, which is several times as fast: it is most of meta.json.

    Raises:
        UserError: a required member is missing, does not decode, or is of another format version.
    """
    meta = read_meta(members, provenance)
    camera = Camera(
        width=meta["camera"]["width"],
        height=meta["camera"]["height"],
        K=np.array(meta["camera"]["K"]),
        cam_from_world=np.array(meta["camera"]["cam_from_world"]),
    )
    missing = REQUIRED_MEMBERS - members.keys()
    if missing:
        raise UserError(f"sample {meta['key']}: {', '.join(sorted(missing))} missing; the shard is damaged")
    empty = np.zeros((0, 0), dtype=np.uint8)
    depth = None
    if "depth" in layers and "depth.npz" in members:
        depth = np.load(io.BytesIO(members["depth.npz"]), allow_pickle=False)["depth_m"]
    return Sample(
        key=meta["key"],
        scene=meta["scene"],
        frame=meta["frame"],
        view=meta["view"],
        image=decode_image(image_member(members), meta["key"]) if "image" in layers else empty[..., None],
        mask=decode_image(members["mask.png"], meta["key"], colour=False) if "mask" in layers else empty,
        camera=camera,
        subjects=tuple(_subject(item) for item in meta["subjects"]),
        provenance=meta.get("provenance", {}),
        depth_m=depth,
        normal=_optional_image(members, "normal", layers, meta["key"], colour=True),
        parts=_optional_image(members, "parts", layers, meta["key"], colour=False),
    )


def encode_real(frame: RealFrame, quality: int = 95) -> dict[str, bytes]:
    """Members of one unlabelled record."""
    meta = {
        "format_version": FORMAT_VERSION,
        "key": frame.key,
        "clip": frame.clip,
        "frame": frame.frame,
        "time_s": frame.time_s,
        "crop": list(frame.crop),
        "source": frame.source,
        **frame.extra,
    }
    return {"image.jpg": encode_image(frame.image, "jpg", quality), "meta.json": _json_bytes(meta)}


def decode_real(members: dict[str, bytes]) -> RealFrame:
    """One unlabelled frame from its members.

    Raises:
        UserError: as `decode`.
    """
    meta = read_meta(members)
    known = ("format_version", "key", "clip", "frame", "time_s", "crop", "source")
    return RealFrame(
        key=meta["key"],
        image=decode_image(image_member(members), meta["key"]),
        clip=meta["clip"],
        frame=meta["frame"],
        time_s=meta["time_s"],
        crop=tuple(meta["crop"]),
        source=meta["source"],
        extra={name: value for name, value in meta.items() if name not in known},
    )


def read_meta(members: dict[str, bytes], provenance: bool = True) -> dict[str, Any]:
    """meta.json of a record, its format version checked. `provenance` False: it and what follows it are not read."""
    if "meta.json" not in members:
        raise UserError(f"a record holds {sorted(members)} but no meta.json; the shard is damaged")
    try:
        content = members["meta.json"]
        if not provenance:
            # Within a string the quotes would be escaped, so this can only be the key.
            head, cut, _ = content.partition(b',"provenance":')
            content = head + b"}" if cut else content
        meta = json.loads(content)
        version = meta["format_version"]
    except (ValueError, KeyError, TypeError):
        raise UserError("meta.json of a record cannot be read; the shard is damaged") from None
    if version != FORMAT_VERSION:
        raise UserError(
            f"sample {meta.get('key')}: format version {version}, this program reads {FORMAT_VERSION}; render again"
        )
    return meta


def image_member(members: dict[str, bytes]) -> bytes:
    """The record's image, whichever format it has."""
    for name in ("image.jpg", "image.png"):
        if name in members:
            return members[name]
    raise UserError(f"a record holds {sorted(members)} but no image; the shard is damaged")


def encode_image(image: np.ndarray, image_format: str, quality: int = 95) -> bytes:
    """[H, W, 3] RGB or [H, W] uint8 -> file bytes. PNG is compressed at level 6, the same bytes on every run."""
    if image_format == "jpg":
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    elif image_format == "png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 6]
    else:
        raise UserError(f"image format {image_format!r} is not known; choose jpg or png")
    bgr = image[..., ::-1] if image.ndim == 3 else image
    _, data = cv2.imencode(f".{image_format}", np.ascontiguousarray(bgr), options)
    return data.tobytes()


def decode_image(data: bytes, key: str, colour: bool = True) -> np.ndarray:
    """File bytes -> [H, W, 3] RGB uint8, or [H, W] uint8 with `colour` false.

    Raises:
        UserError: it does not decode; `key` names the sample.
    """
    flags = cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_UNCHANGED
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    if image is None:
        raise UserError(f"sample {key}: an image does not decode; the shard is damaged")
    return image


def _optional_image(
    members: dict[str, bytes], layer: str, layers: tuple[str, ...], key: str, colour: bool
) -> np.ndarray | None:
    if layer not in layers or f"{layer}.png" not in members:
        return None
    return decode_image(members[f"{layer}.png"], key, colour)


def _subject_meta(subject: Subject) -> dict[str, Any]:
    meta = {
        "id": subject.id,
        "kind": subject.kind,
        "species": subject.species,
        "skeleton": subject.skeleton,
        **{name: getattr(subject, name).tolist() for name in _ARRAYS},
        "rotations": None if subject.rotations is None else subject.rotations.tolist(),
        "occlusion": subject.occlusion,
        "truncation": subject.truncation,
        "shape": subject.shape,
    }
    return meta


def _subject(meta: dict[str, Any]) -> Subject:
    arrays = {name: np.array(meta[name]) for name in _ARRAYS}
    arrays["visibility"] = arrays["visibility"].astype(np.uint8)
    rotations = None if meta["rotations"] is None else np.array(meta["rotations"])
    scalars = {n: meta[n] for n in ("id", "kind", "species", "skeleton", "occlusion", "truncation", "shape")}
    return Subject(**scalars, **arrays, rotations=rotations)


def _json_bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
