"""What may be the name of a study: it names a folder, an experiment of MLflow and a report."""

from __future__ import annotations

import re


def study_name(text: str) -> str:
    """The text itself; ValueError, with what is allowed, where it can be no name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise ValueError("use letters, digits, '.', '_' and '-' only, at most 100, starting with a letter or digit")
    return text
