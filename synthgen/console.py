"""What the command line shows: one progress bar on a terminal, a line now and then where there is none (logs, CI)."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

_LINE_EVERY_S = 20.0


class ProgressBar:
    """Counts things towards a total; use as a context manager.

    Args:
        what: shown before the bar. total: number of things. unit: their name, plural.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = self._done_before = 0
        self._rejects = 0
        self._started = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total, rate="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is None:
            self._print_line()

    def skip(self, count: int) -> None:
        """Count things that were there before; they do not enter the rate."""
        self._done_before += count
        self.advance(count)

    def advance(self, count: int, rejects: int = 0) -> None:
        self._done += count
        self._rejects += rejects
        self._bar.update(self._task, completed=self._done, rate=self._rate_text())
        if not console.is_terminal and time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._print_line()

    @property
    def rate(self) -> float:
        """Things a second, since the start."""
        return (self._done - self._done_before) / max(time.monotonic() - self._started, 1e-9)

    def _rate_text(self) -> str:
        rejects = f", {self._rejects} rejected" if self._rejects else ""
        return f"{self.rate:.1f} {self._unit}/s{rejects}"

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        left_s = (self._total - self._done) / max(self.rate, 1e-9)
        left = f", about {left_s / 60:.1f} min left" if self._done < self._total else ""
        console.print(f"{self._what}: {self._done}/{self._total}, {self._rate_text()}{left}")
