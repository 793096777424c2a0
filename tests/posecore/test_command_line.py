"""Both commands, as far as they are alike."""

import pytest
import typer
from typer.testing import CliRunner

import synthgen.cli
import trainer.cli

APPS = {"synthgen": synthgen.cli.app, "trainer": trainer.cli.app}


def paths(command: typer.main.TyperGroup, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command below, as its words."""
    found = [above]
    for name, child in getattr(command, "commands", {}).items():
        found += paths(child, (*above, name))
    return found


EVERY_COMMAND = [(name, *words) for name, app in APPS.items() for words in paths(typer.main.get_command(app))]


def test_there_are_commands_within_commands() -> None:
    assert ("trainer", "run", "pretrain") in EVERY_COMMAND and ("synthgen", "assets", "list") in EVERY_COMMAND


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    name, *rest = words
    done = CliRunner().invoke(APPS[name], [*rest, "--help"])
    assert done.exit_code == 0, done.exception
    assert "Usage:" in done.output
