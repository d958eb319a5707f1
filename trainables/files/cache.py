"""The cache folder: named arrays that are computed once and used by many runs.

A cached file states the hash of its content and is checked whenever it is read; what is damaged is computed again, with a warning.
Where the folder lies at a URL, all machines use the bytes of whoever was first, through a copy on their own disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trainables.files import atomic
from trainables.files.storage import is_local, read_header

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

_POLL = 5.0  # seconds between two signs of life while another process computes


def local_cache(cache: Path) -> Path:
    """The folder itself, or where this machine keeps its copies of one that lies at a URL."""
    if is_local(cache):
        return cache
    return Path.home() / ".cache" / "snrlab" / hashlib.sha256(str(cache).encode()).hexdigest()[:16]


def cached_arrays(cache: Path, name: str, compute: Callable[[], Mapping[str, np.ndarray]],
                  pulse: Callable[[], None] = lambda: None) -> tuple[Arrays, str]:
    """(arrays, SHA-256 of their names and values) of a cached file, computed where there is none or a damaged one.

    One process per machine computes at a time; `pulse` is called while others wait for it.
    """
    path = local_cache(cache) / f"{name}.safetensors"
    with locked(path, pulse):
        if not is_local(cache):
            return _shared(cache / path.name, path, compute)
        found = _read(path)
        if found is None:
            _write(path, compute())
            found = _read(path)
            assert found is not None
        return found


@contextlib.contextmanager
def locked(path: Path, pulse: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While one process of this machine makes a cached file; `pulse` is called while others wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    while True:
        try:
            lock.acquire(timeout=_POLL)
            break
        except Timeout:
            pulse()
    try:
        yield
    finally:
        lock.release()


def array_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256, hexadecimal, of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _shared(there: Path, copy: Path, compute: Callable[[], Mapping[str, np.ndarray]]) -> tuple[Arrays, str]:
    """What lies at a URL, through a local copy; the first to store it decides for all."""
    found = _fetched(there, copy)
    if found is None:
        made = compute()
        found = _fetched(there, copy)  # somebody may have been faster
    if found is None:
        _write(copy, made)
        there.unlink(missing_ok=True)  # a damaged one
        with contextlib.suppress(FileExistsError):
            cast(Any, there).fs.pipe_file(cast(Any, there).path, copy.read_bytes(), mode="create")
        found = _fetched(there, copy)
        assert found is not None
    return found


def _fetched(there: Path, copy: Path) -> tuple[Arrays, str] | None:
    try:
        stated = read_header(str(there))[0]["__metadata__"]["sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: is damaged (%s) and is made again", there, error)
        return None
    found = _read(copy)
    if found is None or found[1] != stated:
        atomic.write_bytes(copy, there.read_bytes())
        found = _read(copy)
    return found


def _read(path: Path) -> tuple[Arrays, str] | None:
    """The arrays, if the file is there and whole."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            stated = (file.metadata() or {}).get("sha256")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        log.warning("%s: is damaged (%s) and is made again", path, error)
        return None
    if stated is None:  # of a version that stated none: nothing tells whether it is whole
        return None
    if (found := array_hash(arrays)) != stated:
        log.warning("%s: is damaged (its content does not have the hash that it states) and is made again", path)
        return None
    return arrays, found


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    atomic.write_with(path, lambda temporary: save_file(whole, temporary, {"sha256": array_hash(whole)}))
