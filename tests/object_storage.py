"""A real server of the S3 protocol (moto), in a process of its own that can be stopped."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from trainables.files.storage import place


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[bytes]]:
    """Found through the environment, as on a cluster; one per session, because fsspec keeps its clients."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
                "MLFLOW_S3_ENDPOINT_URL": url}
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield server
        finally:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def bucket(server: subprocess.Popen[bytes]) -> str:
    """URL of an empty bucket."""
    place("s3://snrlab").mkdir()
    return "s3://snrlab"
