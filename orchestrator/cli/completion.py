"""What a shell offers for STUDY when Tab is pressed (`snrlab --install-completion`)."""

from __future__ import annotations

from pathlib import Path

import typer


def studies_to_run(incomplete: str) -> list[str]:
    """Bundled studies and study files that begin so."""
    from search_spaces.study import bundled_studies

    return [name for name in bundled_studies() if name.startswith(incomplete)] + _files(incomplete)


def studies_that_were_run(context: typer.Context, incomplete: str) -> list[str]:
    """Studies of the work folder, where that is a folder here, and study files that begin so."""
    folder = Path(str(context.params.get("workdir") or "runs"))
    names = sorted(path.parent.name for path in folder.glob("*/study.json"))
    return [name for name in names if name.startswith(incomplete)] + _files(incomplete)


def _files(incomplete: str) -> list[str]:
    folder, slash, begun = incomplete.rpartition("/")
    found = (path.name for path in Path(folder + slash).glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    return sorted(folder + slash + name for name in found if name.startswith(begun))
