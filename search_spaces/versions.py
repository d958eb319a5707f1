"""The version of study files: what an older file says is brought up to date, a newer one is refused.

A change that older files would not survive adds one function to `_MIGRATIONS`: it takes a study's fields as they were written for that
version, short forms and all, and returns those of the next.  A file without `version` is of version 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainables.errors import ConfigError

_MIGRATIONS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = ()  # from version 1 to 2, from 2 to 3, ...


def version() -> int:
    """The version that this snrlab writes."""
    return 1 + len(_MIGRATIONS)


def up_to_date(study: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a study as the present version has them, without `version`; ConfigError for a newer one."""
    fields = dict(study)
    given = fields.pop("version", 1)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"{where}: version: {given!r} was given: must be a whole number from 1 to {version()}; leave it out for 1")
    if given > version():
        raise ConfigError(f"{where}: version: {given} is newer than this snrlab, which knows 1 to {version()}: update snrlab")
    for migrate in _MIGRATIONS[given - 1 :]:
        fields = migrate(fields)
    return fields
