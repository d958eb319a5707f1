"""What a person sees while a study runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.execution.tally import Tally


class ProgressDisplay:
    """Shows a tally; `note` tells single events."""

    def __init__(self, console: Console, metric: str) -> None:
        self._console, self._metric = console, metric
        self._started = time.monotonic()
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[status]}"), console=console, disable=not self._live,
        )
        self._task = self._progress.add_task("trials", status="starting Ray (about 10 s)", total=None)

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """One line that stays; plain text, never read as markup."""
        clock = time.monotonic() - self._started
        self._console.print(f"[{clock:6.1f}s] {text}", markup=False, highlight=False, soft_wrap=True)

    def update(self, tally: Tally) -> None:
        self._progress.update(self._task, total=tally.trials, completed=tally.done, status=self.status(tally))

    def status(self, tally: Tally) -> str:
        parts = [f"{tally.running} running", f"{tally.sweeping} sweeping", f"{tally.stopped} stopped"]
        if tally.failed:
            parts.append(f"{tally.failed} failed")
        if tally.best is not None:
            over = f", mean of {tally.best_seeds} seeds" if tally.best_seeds > 1 else ""
            parts.append(f"best {self._metric} {tally.best:.3f} (trial {tally.best_trial}{over})")
        left = self._time_left(tally)
        if left is not None:
            parts.append(f"at most {left} left")
        return ", ".join(parts)

    def _time_left(self, tally: Tally) -> str | None:
        elapsed = time.monotonic() - self._started
        if not tally.images or elapsed < 5:
            return None
        return duration(tally.images_open * elapsed / tally.images)


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
