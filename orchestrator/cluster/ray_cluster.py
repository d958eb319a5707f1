"""Ray, started here or joined at an address."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from orchestrator.cluster.turns import one_start_at_a_time, place_on_this_machine
from trainables.errors import UserError
from trainables.files.storage import is_local

if TYPE_CHECKING:
    from search_spaces.study import Compute

# Read by Ray at import: nothing is reported home, Train V2 is on, and no process is started that we do not use.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the old output is silent when told to be
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no score
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "OMP_NUM_THREADS": "1",
}
_SECONDS_TO_NOTICE = 10.0  # Ray itself gives up after a minute
_OBJECT_STORE_BYTES = 200 << 20  # only recipes and scores pass through it


def prepare_environment() -> None:
    """Set what Ray reads when it is imported; call before the first import of ray."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class RayLost(Exception):
    """Ray itself has died under a study: no trial's fault, and nothing that was recorded is lost."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Ray was lost ({what}); nothing that was recorded is: run the same command again to go on")


@dataclass(frozen=True)
class RayProcesses:
    """What Ray consists of here, besides workers, where it was started here."""

    processes: tuple[psutil.Process, ...] = ()

    def check(self) -> None:
        """RayLost where one of them has died."""
        for process in self.processes:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise RayLost("one of its processes has died")


@contextmanager
def ray_cluster(compute: Compute, address: str | None, note: Callable[[str], None] = lambda text: None) -> Iterator[RayProcesses]:
    """Ray for the duration of a study; what was started here ends here.  `note` is told what takes a while."""
    import ray

    if ray.is_initialized():  # a test session, or a notebook, that has its own
        yield RayProcesses()
        return
    elsewhere = bool(address) and address != "local"
    with nullcontext() if elsewhere else place_on_this_machine(note):
        on_terminate = signal.getsignal(signal.SIGTERM)
        if address and elsewhere:
            _join(address)
        else:
            _start(compute, note)
        try:
            _check_resources(compute, ray.cluster_resources())
        except UserError:
            ray.shutdown()
            raise
        # Ray's own SIGTERM handler ends the process on the spot; ours lets the study stop cleanly.
        signal.signal(signal.SIGTERM, on_terminate)
        started = [] if elsewhere else psutil.Process().children()
        processes, over = RayProcesses(tuple(p for p in started if p.name() in ("raylet", "gcs_server"))), threading.Event()
        threading.Thread(target=_watch, args=(processes, over), daemon=True).start()
        try:
            yield processes
        finally:
            ray.shutdown()
            over.set()


def _join(address: str) -> None:
    import ray

    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": _worker_environment()})
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from None


def _start(compute: Compute, note: Callable[[str], None]) -> None:
    import ray

    with one_start_at_a_time(note):
        note("starting Ray (about 10 s)")
        ray.init(
            "local",  # without it, Ray would join RAY_ADDRESS or the cluster that `ray start` has left here
            num_cpus=max(int(resources_needed(compute)["CPU"]), os.cpu_count() or 1), include_dashboard=False, log_to_driver=False,
            logging_level=logging.ERROR, object_store_memory=_OBJECT_STORE_BYTES,
        )  # workers inherit our environment


def cluster_not_used() -> str:
    """What to say where a Ray cluster is named or known on this machine and a study starts its own all the same; empty without one."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - where `ray start` writes it
    known = Path(folder, "ray", "ray_current_cluster")
    named = os.environ.get("RAY_ADDRESS", "")
    address = named or (known.read_text().strip() if known.is_file() else "")
    if address in ("", "local"):
        return ""
    where = "RAY_ADDRESS names" if named else "ray start has left here"
    return f"a Ray of this study's own is started; the cluster that {where} is not used: --address {address} would use it"


def _watch(processes: RayProcesses, over: threading.Event) -> None:
    """End this process where Ray has died and whoever waits inside Ray does not notice; a restart goes on from the records."""
    while not over.wait(1.0):
        try:
            processes.check()
        except RayLost as error:
            if not over.wait(_SECONDS_TO_NOTICE):
                print(f"snrlab: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            return


def ray_storage(folder: Path) -> dict[str, Any]:
    """Where Ray keeps its own files of a run, as arguments of its RunConfig; nothing of ours is ever read from there."""
    if is_local(folder):
        return {"storage_path": str(folder)}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    remote: Any = folder
    return {"storage_path": remote.path, "storage_filesystem": PyFileSystem(FSSpecHandler(remote.fs))}


def _knock(address: str) -> None:
    """UserError at once where nothing listens; Ray itself would try for minutes."""
    host, separator, port = address.rpartition(":")
    if separator and port.isdigit():
        try:
            socket.create_connection((host.removeprefix("ray://").strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0]
    return UserError(f"--address {address}: no Ray cluster answers there ({reason}); start one with: ray start --head")


def resources_needed(compute: Compute) -> dict[str, float]:
    """CPUs and GPUs of all trials that train at once and of one sweep beside them, so that neither waits for the other for ever."""
    shares = max(compute.workers, 1) * compute.concurrent_trials + 1
    return {"CPU": shares * compute.cpus_per_worker, "GPU": shares * compute.gpus_per_worker}


def _check_resources(compute: Compute, have: dict[str, float]) -> None:
    """UserError where the study would wait for ever."""
    for name, needed in resources_needed(compute).items():
        if needed > have.get(name, 0.0) + 1e-6:
            shares = " (such as 0.5, to share one)" if name == "GPU" else ""
            raise UserError(
                f"Ray has {have.get(name, 0.0):g} {name}s, but this study needs {needed:g}: {compute.concurrent_trials} trial(s) at a time "
                f"of {max(compute.workers, 1)} worker(s), and one EMA sweep beside them; lower compute.{name.lower()}s_per_worker{shares}, "
                "compute.workers or compute.concurrent_trials"
            )


def _worker_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT}
