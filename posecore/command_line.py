"""What both commands do alike: start an app, turn what a user can mend into one line, give the version."""

import errno
import sys
from importlib.metadata import version

import typer

from posecore.errors import UserError


def run_app(app: typer.Typer) -> None:
    """Run a command. Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 Ctrl-C."""
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:  # a folder that is not ours, a full disk
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        _fail(f"{error.filename or 'writing'}: {error.strerror}")
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)


def _fail(message: str) -> None:
    colour = typer.colors.RED if sys.stderr.isatty() else None
    for line in message.splitlines():
        typer.secho(f"error: {line}", err=True, fg=colour)
    sys.exit(1)


def print_version(wanted: bool) -> None:
    """Callback of --version."""
    if wanted:
        typer.echo(f"posesynth {version('posesynth')}")
        raise typer.Exit
