"""The same numbers from the same recipe on a GPU, at the price of speed: what PyTorch needs for that. Importing this loads no torch.

https://docs.pytorch.org/docs/stable/notes/randomness.html
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainables.errors import ConfigError

if TYPE_CHECKING:
    import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS gives the same sums each time; it reads them when it starts


def choose_workspace() -> None:
    """For a process that may train one recipe after another: cuBLAS's workspace, unless the environment names one, before CUDA starts."""
    os.environ.setdefault(WORKSPACE, WORKSPACES[0])


@contextlib.contextmanager
def deterministic(wanted: bool, device: torch.device) -> Iterator[None]:
    """Within, PyTorch uses deterministic algorithms alone, where that is wanted; what was set before comes back afterwards.

    ConfigError where CUDA has started with a workspace that cuBLAS is not deterministic with, and where an operator has no
    deterministic algorithm.
    """
    if not wanted:
        yield
        return
    import torch

    if device.type == "cuda":
        _check_workspace(torch.cuda.is_initialized())
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    try:
        yield
    except RuntimeError as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        raise ConfigError(f"arithmetic.deterministic: {str(error).partition('.')[0]}: use another method, or set it to false") from None
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[1:]


def stated(wanted: bool) -> dict[str, object]:
    """What determinism rests on, for the record."""
    return {"wanted": wanted, WORKSPACE: os.environ.get(WORKSPACE, "")} if wanted else {"wanted": False}


def _check_workspace(started: bool) -> None:
    given = os.environ.get(WORKSPACE)
    if given in WORKSPACES or (given is None and not started):
        choose_workspace()
        return
    raise ConfigError(
        f"arithmetic.deterministic: {WORKSPACE} is {given or 'not set'}, and CUDA {'has started' if started else 'would start'} with it: "
        f"set it to {' or '.join(WORKSPACES)} in the environment before the program starts"
    )
