"""The picture of a report in the README: `python -m tests.docs.picture runs/weightings/report/index.html`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.docs.blocks import ROOT
from tests.reports.test_page import CHROMIUM

TARGET = ROOT / "docs/report.png"


def take(page: Path, target: Path, width: int = 1100, height: int = 800) -> None:
    """The first screen of a page in a browser without a network, with 64 colours."""
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "page.png"
        subprocess.run([str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000",
                        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
                        f"--screenshot={taken}", page.absolute().as_uri()], check=True, capture_output=True, timeout=120)
        Image.open(taken).convert("RGB").quantize(64).save(target, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), TARGET)
