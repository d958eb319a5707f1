"""How far a study is, as numbers, and what can show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass
class Tally:
    """Trials by state, images, and the best score so far."""

    trials: int
    images_per_trial: int
    completed: int = 0
    stopped: int = 0
    failed: int = 0
    infeasible: int = 0  # values that make no recipe; they are not among the trials
    running: int = 0
    sweeping: int = 0
    images: int = 0  # trained since the start of this process
    images_open: int = 0  # upper bound of what is left
    best: float | None = None
    best_trial: int | None = None
    best_seeds: int = 1  # over which the best score is a mean; the trial is then the first of them

    @property
    def done(self) -> int:
        return self.completed + self.stopped + self.failed

    @property
    def states(self) -> dict[str, int]:
        """Number of trials in each state."""
        return {state: getattr(self, state) for state in ("running", "sweeping", "completed", "stopped", "failed", "infeasible")}


class Display(Protocol):
    """Where a person follows a study."""

    def note(self, text: str) -> None:
        """One line that stays; plain text, never read as markup."""

    def update(self, tally: Tally) -> None:
        """Show the numbers of now."""
