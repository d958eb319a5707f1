"""Every command and every code block of README and docs works as it stands there, in one folder, page by page.

Trainings are shortened (`shortened.py`); a block that is not run says why in a comment above it, which readers of the source see.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from orchestrator.cli.app import app
from search_spaces import scales
from search_spaces.study import compose_study
from tests.docs import shortened
from tests.docs.blocks import OUTPUT, PAGES, ROOT, Block, all_blocks
from tests.docs.reader import FIRST, in_a_shell
from trainables.files.yaml_file import parse_mapping
from trainables.recipe import Recipe, make_recipe

BLOCKS = all_blocks()
_SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]
_LONG = re.compile(r"second|snrlab sweep|-m trainables")


def runnable(language: str) -> list[pytest.ParameterSet]:
    """Blocks to be run; those that train more than the first study are slow."""
    return [
        pytest.param(block, id=block.place, marks=_SLOW if _LONG.search(block.text) else [])
        for block in BLOCKS if block.language == language and not block.reason
    ]


@pytest.mark.parametrize("block", runnable("sh"))
def test_commands_run(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts no Ray of its own is called in this process, which spares a start of Python each."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(scales, "scales", shortened.short_scales)
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["snrlab"] and words[1] not in ("run", "sweep"):
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception}"
        elif words and block.text != FIRST:
            in_a_shell(line, folder)


@pytest.mark.parametrize("block", [b for b in runnable("python") if not b.marks])
def test_python_blocks_run(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch, names: dict[Path, dict[str, Any]]) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(scales, "scales", shortened.short_scales)
    exec(compile(block.text, block.place, "exec"), names.setdefault(block.page, {}))


@pytest.fixture(scope="module")
def names() -> dict[Path, dict[str, Any]]:
    """What each page's earlier blocks have named."""
    return {}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", sorted({p.values[0].page for p in runnable("python")}), ids=lambda page: page.name)
def test_all_python_blocks_of_a_page_run_one_after_the_other(page: Path, folder: Path) -> None:
    script = folder / "blocks.py"
    script.write_text("\n".join(block.text for block in BLOCKS if block.page == page and block.language == "python" and not block.reason))
    in_a_shell("python -m tests.docs.shortened blocks.py", folder)


@pytest.mark.parametrize("block", [pytest.param(block, id=block.place) for block in BLOCKS if block.language == "yaml"])
def test_yaml_blocks_are_recipes_or_studies_or_parts_of_one(block: Block) -> None:
    fields = parse_mapping(block.text, block.place)
    if fields.keys() <= Recipe.model_fields.keys():
        make_recipe(fields, block.place)
        return
    earlier = next((b for b in BLOCKS if b.page == block.page and b.language == "yaml" and "name:" in b.text), None)
    whole = parse_mapping(earlier.text, "") if earlier else {"name": "part"}
    if "design" in fields:
        whole = {key: value for key, value in whole.items() if key not in ("space", "search")}
    study = {**whole, **fields}
    compose_study(study if study.keys() & {"space", "design"} else {**study, "space": {"seed": [0, 1]}}, {})


def test_each_block_has_a_language_that_is_tested_and_a_reason_where_it_is_not_run() -> None:
    tested = ("sh", "python", "yaml", *OUTPUT)
    assert [block.place for block in BLOCKS if block.language not in tested] == []
    assert [block.place for block in BLOCKS if block.reason and len(block.reason.split()) < 3] == []
    named = [path for block in BLOCKS for path in re.findall(r"tests/\S+\.py", block.reason)]
    assert named and all((ROOT / path).is_file() for path in named), "a reason names a test that exists"
    shown = {block.place for block in BLOCKS if block.reason}
    comments = sum(page.read_text().count("<!-- not run:") for page in PAGES)
    assert len(shown) == comments, "each comment stands right above its block"
    assert len(shown) <= 12, "a test can run most blocks"


COMMANDS = sorted({
    (str(page.relative_to(ROOT)), text)
    for page in PAGES
    for text in re.findall(r"`((?:\.venv/bin/)?snrlab [^`]+|make [^`]+)`", page.read_text())
})


@pytest.mark.parametrize(("page", "text"), COMMANDS)
def test_commands_in_sentences_exist_with_their_options(page: str, text: str) -> None:
    words = shlex.split(re.sub(r"[\[\]]|\.\.\.", "", text).replace("|", " "))
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in targets for word in words[1:] if "=" not in word and not word.startswith("-")), text
        return
    command: Any = typer.main.get_command(app)
    for word in words[1:]:
        if hasattr(command, "commands") and not word.startswith("-"):
            assert word in command.commands, f"{page}: {text}: there is no command {word}"
            command = command.commands[word]
        elif word.startswith("--"):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
            assert word.partition("=")[0] in known, f"{page}: {text}: there is no option {word}"


def test_the_table_of_commands_has_them_all() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    group: Any = typer.main.get_command(app)
    assert [name for name in group.commands if f"`snrlab {name} " not in page and f"`snrlab {name}`" not in page] == []
