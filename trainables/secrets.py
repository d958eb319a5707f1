"""Passwords and tokens in addresses never reach people's eyes: texts and log records without them."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
_PASSWORD = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^\s/?#@:]*:)[^\s/?#]+(?=@)")
_TOKEN_BEFORE_HOST = re.compile(r"(?P<before>https?://)[^\s/?#@:]+(?=@)")
_QUERY = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^\s?#]*\?)[^\s'\"#)]+")
_known: set[str] = set()


def secrets_of(address: str) -> set[str]:
    """What must not be shown of an address: its password (or a lone user name, which is a token), and the values of its query."""
    try:
        parts = urlsplit(address)
        password = parts.password or (parts.username if parts.scheme.startswith("http") else "")
    except ValueError:
        return set()
    found = {password or "", *(value for _, value in parse_qsl(parts.query))}
    return {form for text in found if text for form in (text, unquote(text))}


def remember(address: str | None) -> None:
    """From now on the secrets of this address are hidden wherever they appear, also without the address around them."""
    _known.update(text for text in secrets_of(address or "") if len(text) > 3)


def redact(text: str) -> str:
    """The text without passwords and queries of addresses, and without the secrets that are remembered."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _PASSWORD.sub(rf"\g<before>{HIDDEN}", text)
    text = _TOKEN_BEFORE_HOST.sub(rf"\g<before>{HIDDEN}", text)
    return _QUERY.sub(rf"\g<before>{HIDDEN}", text)


class Redacting(logging.Formatter):
    """Any formatter's lines, stack traces with them, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def guard_output() -> None:
    """Set up logging to stderr, and what Python prints of an error that nobody caught, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    sys.excepthook = lambda kind, error, trace: print_error(error)


def print_error(error: BaseException) -> None:
    """An error with its stack trace, without secrets."""
    sys.stderr.write(redact("".join(traceback.format_exception(error))))
