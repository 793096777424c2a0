"""Who may import whom, held as a fact about the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "posecore": {"synthgen", "trainer", "torch", "bpy"},
    "synthgen": {"trainer", "torch"},
    "trainer": {"synthgen", "bpy"},
}


def imported_modules(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at any depth of the code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_only_what_they_may(package: str) -> None:
    assert sources(package)
    for path in sources(package):
        roots = {name.split(".")[0] for name in imported_modules(path)}
        assert not roots & FORBIDDEN[package], path


def test_only_synthgen_blender_imports_bpy() -> None:
    importers = {
        path.parent for path in sources("synthgen") if "bpy" in {n.split(".")[0] for n in imported_modules(path)}
    }
    assert importers == {ROOT / "synthgen" / "blender"}


def test_blender_code_does_not_know_recipes_files_or_sampling() -> None:
    for path in sources("synthgen/blender"):
        forbidden = ("synthgen.recipe", "synthgen.sampling", "synthgen.catalog", "synthgen.distributions")
        assert not any(name.startswith(forbidden) for name in imported_modules(path)), path


def test_posecore_needs_neither_torch_nor_blender_at_run_time() -> None:
    code = (
        "import sys, pkgutil, importlib, posecore\n"
        "for module in pkgutil.iter_modules(posecore.__path__): importlib.import_module('posecore.' + module.name)\n"
        "assert not {'torch', 'bpy', 'synthgen', 'trainer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["synthgen.cli", "trainer.cli"])
def test_help_is_instant_because_commands_import_late(module: str) -> None:
    code = f"import sys, {module}; assert not {{'torch', 'bpy', 'numpy', 'cv2'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
