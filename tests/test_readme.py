"""Commands in the documents, in the recipes' heads and in the demo script are real: each parses, options and all."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from synthgen.cli import app as synthgen_app
from trainer.cli import app as trainer_app

ROOT = Path(__file__).resolve().parent.parent
APPS = {"synthgen": synthgen_app, "trainer": trainer_app}


def commands_of(document: Path) -> list[str]:
    lines = [line.strip().split("  #")[0] for line in document.read_text().splitlines()]
    return [line for line in lines if re.match(r"(synthgen|trainer) [a-z]", line)]


def commands_of_recipes() -> list[str]:
    """Those in the comments at their heads."""
    lines = [line for path in sorted((ROOT / "recipes").rglob("*.yaml")) for line in path.read_text().splitlines()]
    return [found[1] for line in lines if (found := re.match(r"# {5}((?:synthgen|trainer) [^#]*)", line))]


def commands_of_demo() -> list[str]:
    script = (
        (ROOT / "scripts" / "demo.sh").read_text().replace("\\\n", " ").replace("$out", "demo").replace("$stage", "x")
    )
    found = re.findall(r'run "\$bin/((?:synthgen|trainer)" .*)', script)
    return [command.replace('"', "").rstrip() for command in found if "$@" not in command]


@pytest.mark.parametrize(
    "line",
    [
        *commands_of(ROOT / "README.md"),
        *commands_of(ROOT / "RESULTS.md"),
        *commands_of_recipes(),
        *commands_of_demo(),
    ],
)
def test_a_documented_command_parses(line: str) -> None:
    name, *arguments = shlex.split(line)
    command = typer.main.get_command(APPS[name])
    while hasattr(command, "commands"):
        assert arguments and arguments[0] in command.commands, line
        command = command.commands[arguments.pop(0)]
    command.make_context(name, arguments)


def test_the_five_uses_that_everything_is_for_are_in_the_readme() -> None:
    documented = "\n".join(commands_of(ROOT / "README.md"))
    for use in (
        "synthgen render --recipe humans_dr.yaml",
        "synthgen render --recipe quadrupeds.yaml",
        "trainer run pretrain",
        "trainer run finetune",
    ):
        assert use in documented
    assert len(commands_of_demo()) >= 6


def test_pictures_that_the_documents_show_are_there() -> None:
    shown = {
        document: re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / document).read_text())
        for document in ("README.md", "RESULTS.md")
    }
    assert all(shown.values())
    assert all((ROOT / picture).is_file() for pictures in shown.values() for picture in pictures)
