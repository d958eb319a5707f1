"""Nothing secret is shown or kept."""

from __future__ import annotations

import pytest

from orchestrator.cluster.addresses import without_password


@pytest.mark.parametrize(("url", "shown"), [
    ("postgresql://me:secret@host:5432/db?sslpassword=secret", "postgresql://me@host:5432/db"),
    ("postgresql+psycopg2:///db?host=/run/pg&user=me&password=secret", "postgresql+psycopg2:///db"),
    ("sqlite:////srv/runs/mlflow.db", "sqlite:////srv/runs/mlflow.db"), ("http://host:5000", "http://host:5000"), ("", ""),
])
def test_passwords_are_left_out(url: str, shown: str) -> None:
    assert without_password(url) == shown
