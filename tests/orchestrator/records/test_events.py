"""Events are for people: whatever is wrong with them stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records import events


def test_damaged_lines_are_not_shown_and_the_others_are(tmp_path: Path) -> None:
    events.note(tmp_path, "training", recipe="abc")
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    assert len(events.lines(tmp_path)) == 1 and "recipe=abc" in events.lines(tmp_path)[0]
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x81]) + whole[i + 1:])
        events.lines(tmp_path)
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1:])
        events.lines(tmp_path)
    path.write_bytes(whole[:20])
    events.note(tmp_path, "failed")
    events.note(tmp_path, "swept")
    assert "swept" in events.lines(tmp_path)[-1]


def test_an_event_that_cannot_be_written_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events, "append_text", full)
    events.note(tmp_path, "training")
    with pytest.raises(TypeError):
        events.note(tmp_path, "training", what=object())
