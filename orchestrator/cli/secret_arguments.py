"""Addresses with a password are no arguments for long: everybody on a machine can read those of every process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from trainables.secrets import remember, secrets_of

VARIABLES = {"--tracking-uri": "SNRLAB_TRACKING_URI", "--search-storage": "SNRLAB_SEARCH_STORAGE"}


def hide_secret_arguments() -> None:
    """Where an address on the command line holds a secret, start this process anew with the address in its environment instead."""
    kept, moved = without_secrets(sys.argv[1:])
    for name in VARIABLES.values():
        remember(os.environ.get(name))
    if moved:
        before = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
        os.execve(sys.executable, [*before, *kept], {**os.environ, **moved})


def without_secrets(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(arguments without the addresses that hold secrets, those addresses by the environment variable that takes their place)."""
    kept: list[str] = []
    moved: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option in VARIABLES:
            value = value if equals else next(rest, "")
            if secrets_of(value):
                moved[VARIABLES[option]] = value
            else:
                kept += [argument] if equals else [option, value]
        else:
            kept.append(argument)
    return kept, moved
