"""Errors that speak to the person: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend; the command line prints its text alone and exits with 2."""


class ConfigError(UserError):
    """A recipe, study or argument that cannot be used as given."""


class Damaged(UserError):
    """A file of ours that is missing, cut short or changed; the text names it and says the way out."""


class TrainingFailed(Exception):
    """A run that cannot go on, for a reason of its own (for example non-finite losses)."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`, did you mean 'gamma'?` or the empty string."""
    close = difflib.get_close_matches(str(given), list(allowed), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def in_one_line(error: BaseException) -> str:
    """An error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"
