"""Images are decoded once per machine, and what all processes map is made again where it is damaged."""

from __future__ import annotations

import io
import multiprocessing
import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainables.data import source
from trainables.data.edm_zip import EdmZip
from trainables.data.images import ImageData
from trainables.data.parquet import Parquet
from trainables.data.source import DataSource
from trainables.data.torchvision_sets import ImageFolder
from trainables.errors import UserError


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def parquet(path: Path, values: list[int]) -> Path:
    pq.write_table(pa.table({"image": [{"bytes": png(v), "path": None} for v in values], "label": [v % 3 for v in values]}), path)
    return path


@pytest.fixture(autouse=True)
def forget():
    """As in another process."""
    source._WHOLES.clear()
    source._PARTS.clear()
    yield
    source._WHOLES.clear()
    source._PARTS.clear()


def loaded(settings: DataSource, cache: Path) -> ImageData:
    """As another process loads it."""
    source._WHOLES.clear()
    source._PARTS.clear()
    return settings.load(cache)


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("decoded-*.arrow"))


def never(*_: object) -> ImageData:
    raise AssertionError("decoded again")


def test_every_source_that_decodes_is_mapped_the_second_time(tmp_path: Path, monkeypatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png(3))
        archive.writestr("b.png", png(9))
    for number in range(2):
        (tmp_path / "folder" / str(number)).mkdir(parents=True)
        (tmp_path / "folder" / str(number) / "a.png").write_bytes(png(number))
    sources = [
        Parquet(path=str(parquet(tmp_path / "a.parquet", [5, 10, 15]))), EdmZip(path=str(tmp_path / "a.zip"), labelled=False),
        ImageFolder(root=str(tmp_path / "folder")),
    ]
    for settings in sources:
        plain = settings.read()
        first = loaded(settings, tmp_path / "cache")
        with monkeypatch.context() as patched:
            patched.setattr(type(settings), "read", never)
            again = loaded(settings, tmp_path / "cache")
        for data in (first, again):
            assert (data.images == plain.images).all() and (data.labels == plain.labels).all() and not data.images.flags.writeable
            assert (data.key, data.classes, data.peak) == (plain.key, plain.classes, plain.peak)
    assert len(kept(tmp_path / "cache")) == 3


def test_content_and_settings_decide_and_not_the_place(tmp_path: Path) -> None:
    one = parquet(tmp_path / "a.parquet", [1, 2, 3])
    (tmp_path / "b.parquet").write_bytes(one.read_bytes())
    for path, limit, number in ((one, None, 1), (tmp_path / "b.parquet", None, 1), (one, 2, 2)):
        loaded(Parquet(path=str(path), limit=limit), tmp_path / "cache")
        assert len(kept(tmp_path / "cache")) == number
    loaded(Parquet(path=str(one), held_out=1), tmp_path / "cache")
    assert len(kept(tmp_path / "cache")) == 2  # the whole is kept, whatever is held out of it
    parquet(one, [1, 2, 4])
    assert loaded(Parquet(path=str(one)), tmp_path / "cache").images[2, 0, 0, 0] == 4


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "no hash", "bad hash"])
def test_a_damaged_file_is_made_again_and_readers_of_the_old_one_go_on(harm: str, tmp_path: Path, caplog) -> None:
    settings, cache = Parquet(path=str(parquet(tmp_path / "a.parquet", [7, 8, 9]))), tmp_path / "cache"
    plain = loaded(settings, cache)
    (path,) = kept(cache)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(plain.images.tobytes()[:48])] ^= 1
    if "hash" in harm:
        path.with_suffix(".sha256").write_bytes(b"\xff") if harm == "bad hash" else path.with_suffix(".sha256").unlink()
    else:
        replaced = tmp_path / "harmed"  # under another inode, as a copy or a restored backup is
        replaced.write_bytes({"flip": bytes(damaged), "truncate": whole[:100], "empty": b""}[harm])
        replaced.replace(path)
    again = loaded(settings, cache)
    assert "is damaged and is made again" in caplog.text
    assert (again.images == [[[[v]]] for v in (7, 8, 9)]).all() and path.read_bytes() == whole
    assert (plain.images == again.images).all()


def test_files_that_change_while_they_are_read_leave_nothing(tmp_path: Path, monkeypatch) -> None:
    path = parquet(tmp_path / "a.parquet", [1, 2])
    settings, read = Parquet(path=str(path)), Parquet.read

    def changing(self: Parquet) -> ImageData:
        data = read(self)
        parquet(path, [3, 4, 5])
        return data

    monkeypatch.setattr(Parquet, "read", changing)
    with pytest.raises(UserError, match="were changed while they were read"):
        loaded(settings, tmp_path / "cache")
    assert not kept(tmp_path / "cache")


def test_without_room_each_process_decodes_its_own(tmp_path: Path, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainables.data.decoded.write_arrow", full)
    data = loaded(Parquet(path=str(parquet(tmp_path / "a.parquet", [1, 2]))), tmp_path / "cache")
    assert len(data.images) == 2 and "No space left on device" in caplog.text


def _count_reads(path: Path, cache: Path, marks: Path) -> None:
    read = Parquet.read

    def counted(self: Parquet) -> ImageData:
        (marks / str(os.getpid())).touch()
        return read(self)

    Parquet.read = counted  # type: ignore[method-assign]
    assert len(Parquet(path=str(path)).load(cache).images) == 40


def test_of_several_processes_at_once_one_decodes(tmp_path: Path) -> None:
    path, marks = parquet(tmp_path / "a.parquet", list(range(40))), tmp_path / "marks"
    marks.mkdir()
    processes = [multiprocessing.get_context("fork").Process(target=_count_reads, args=(path, tmp_path / "cache", marks)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4 and len(list(marks.iterdir())) == 1
