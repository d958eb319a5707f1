"""Nothing that people read holds a password or a token of an address."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainables.secrets import redact, secrets_of


@pytest.mark.parametrize(("text", "shown"), [
    ("http://user:geheim@host:5000/api", "http://user:***@host:5000/api"),
    ("(postgresql://u:p%40geheim@h/db?sslmode=require&password=geheim)", "(postgresql://u:***@h/db?***)"),
    ("https://geheim@host/x failed", "https://***@host/x failed"),
    ("see http://host/a?token=geheim&x=1 and 's3://bucket/x?key=geheim'", "see http://host/a?*** and 's3://bucket/x?***'"),
    ("two: http://a:geheim@b/ http://c:geheim@d/", "two: http://a:***@b/ http://c:***@d/"),
    ("http://host:5000/#/experiments/1?x=1, user@host, 3:4@5", "http://host:5000/#/experiments/1?x=1, user@host, 3:4@5"),
    ("sqlite:////a/b@c/mlflow.db", "sqlite:////a/b@c/mlflow.db"),
])
def test_addresses_are_shown_without_their_secrets(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_passwords_are_known_in_both_spellings() -> None:
    assert secrets_of("http://user:p%40ss@host?token=t%20k") == {"p%40ss", "p@ss", "t k"}
    assert secrets_of("https://token@host") == {"token"} and not secrets_of("http://host:5000") and not secrets_of("postgresql://user@host/db")


def test_logs_and_stack_traces_hide_what_is_remembered_even_without_its_address() -> None:
    code = """
import logging
from trainables.secrets import guard_output, remember
guard_output()
remember("http://user:geh%40eim@host")
try:
    raise ValueError("geh@eim in an error")
except ValueError:
    logging.getLogger("x").warning("%s and http://a:geh%%40eim@b", "geh@eim", exc_info=True)
raise ValueError("authentication of geh@eim failed at http://user:other@host")
"""
    errors = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert "WARNING x: *** and http://a:***@b" in errors and errors.count("ValueError: *** in an error") == 1
    assert "http://user:***@host" in errors and not any(secret in errors for secret in ("geh@eim", "geh%40eim", "other"))
