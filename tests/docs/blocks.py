"""The code blocks of README and docs: where they stand, their language, and why one is not run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# In the order in which a reader comes to them: later pages use the studies of the first.  docs/plugins.md has a test of its own.
PAGES = [
    ROOT / "docs/first-ablation.md", ROOT / "README.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name not in ("first-ablation.md", "plugins.md", "reference.md", "changelog.md")),
]
OUTPUT = ("text", "")  # what a command prints, and drawings

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- not run: (?P<reason>[^\n]+?) -->\n\s*)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)(?P<more>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the name that it gives its text, `reason` why the tests do not run it."""

    page: Path
    line: int
    language: str
    text: str
    file: str = ""
    reason: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    content = page.read_text()
    found = []
    for match in _BLOCK.finditer(content):
        name = re.search(r'title="([^"]+)"', match["more"])
        line = content[: match.start("language")].count("\n") + 1
        text = "".join(part.removeprefix(match["indent"]) for part in match["text"].splitlines(keepends=True))
        found.append(Block(page, line, match["language"], text, name[1] if name else "", match["reason"] or ""))
    return found


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]
