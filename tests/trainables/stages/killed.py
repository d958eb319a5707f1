"""`python -m tests.trainables.stages.killed PLACE COUNT ...`: `python -m trainables ...`, killed with SIGKILL as it reaches a place.

A place is `module:name` of a function or method; the process ends before its call number COUNT, from 0, is made.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from typing import Any

from trainables.__main__ import main


def kill_at(place: str, count: int) -> None:
    """Have this process killed there."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real, calls = getattr(owner, name), itertools.count()

    def called(*arguments: Any, **named: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    setattr(owner, name, called)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
