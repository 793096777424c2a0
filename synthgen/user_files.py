"""The files that a recipe names and the user brings: motions, and bodies under licences of their own.

Paths start at the working directory. In specs and provenance a file goes by its bare name and its hash.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posecore.errors import UserError
from synthgen.recipe import Recipe
from synthgen.recipe.human import HumanRecipe, PoseRecipe
from synthgen.recipe.quadruped import QuadrupedRecipe
from synthgen.recipe.smpl import SmplRecipe
from synthgen.subjects.people.mocap import Clip
from synthgen.subjects.people.motion_files import clip_name, is_motion_file, read_motion
from synthgen.subjects.smpl.bake import BAKE_VERSION, TITLES, bake_smpl
from synthgen.subjects.smpl.body import SmplBody

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class UserFile:
    """A file on this machine, what it is, and under which licence pictures made from it stand, as far as is known."""

    path: Path
    sha256: str
    licence: str

    @property
    def id(self) -> str:
        """Tells which file it was, not where it lay."""
        return f"{self.path.name}@sha256:{self.sha256}"


def user_files(recipe: Recipe) -> tuple[UserFile, ...]:
    """The files that scenes of the recipe may use: bodies, then motions.

    Raises:
        UserError: one of them is not there.
    """
    match recipe.subject:
        case HumanRecipe(pose=pose):
            return _motions(pose)
        case SmplRecipe(pose=pose):
            return (*_models(recipe.subject), *_motions(pose))
        case QuadrupedRecipe():
            return ()


def read_clips(pose: PoseRecipe) -> dict[str, Clip]:
    """The user's clips that a recipe names.

    Raises:
        UserError: one of the files is not there or cannot be understood.
    """
    clips = {}
    for name in filter(is_motion_file, pose.clips.names):
        try:
            clips[clip_name(name)] = read_motion(Path(name))
        except ValueError as error:
            raise UserError(f"subject.pose.clips: {error}") from None
    return clips


def load_bodies(recipe: SmplRecipe, baked: Path, progress: Callable[[str, float], None]) -> dict[str, SmplBody]:
    """The user's bodies that a recipe names, by the bare name of their file.

    Args:
        baked: folder of what is baked once a file.

    Raises:
        UserError: one of the files is not there or is no such model, or it has too few shape coefficients.
    """
    bodies = {}
    for file in _models(recipe):
        npz = baked / f"{recipe.body}-{file.sha256[:32]}-bake{BAKE_VERSION}.npz"
        if not npz.is_file():
            progress(f"reading {file.path.name} (once)", 0.0)
            try:
                bake_smpl(file.path, recipe.body, npz)
            except ValueError as error:
                raise UserError(f"subject.model: {error}") from None
        body = SmplBody.load(npz)
        if recipe.num_betas > len(body.shape_offsets):
            raise UserError(
                f"subject.num_betas: {recipe.num_betas} is more than the {len(body.shape_offsets)} shape coefficients "
                f"that {file.path} has"
            )
        bodies[file.path.name] = body
    return bodies


def _motions(pose: PoseRecipe) -> tuple[UserFile, ...]:
    paths = map(Path, filter(is_motion_file, pose.clips.names))
    return tuple(_open(path, "as its owner says", "subject.pose.clips", "") for path in paths)


def _models(recipe: SmplRecipe) -> tuple[UserFile, ...]:
    title = TITLES[recipe.body]
    hint = (
        f": {title} models are not part of this program; register at the official {title} site, accept the licence, "
        "download the model (.npz or .pkl) and set subject.model to that file"
    )
    licence = f"the {title} model licence that its user has accepted"
    return tuple(_open(Path(name), licence, "subject.model", hint) for name in recipe.model.names)


def _open(path: Path, licence: str, field: str, hint: str) -> UserFile:
    if not path.is_file():
        raise UserError(f"{field}: no file {path} (paths start at the working directory){hint}")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return UserFile(path, digest.hexdigest(), licence)
