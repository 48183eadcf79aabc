"""What is to be written is refused in one line, before any work, where it cannot lie; and nothing half stays behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from exporters.keys import new_key
from runtime.cli import cli
from runtime.cli.outputs import OutFile, writable, write_out
from runtime.errors import StoreError, SubsolarError

FILES = {
    "telemetry": "telemetry --out",
    "scenario": "scenario paper --plot",
    "rotate": "keys rotate --number 1 --sign-with KEYS/k.key.pem --keep KEYS/k.pub.pem --out",
    "archive": "sign eurosat-mobilenet-v2 --key KEYS/k.key.pem --archive",
    "gallery": "gallery build a.tif --package p --out",
    "evaluate": "evaluate paper --seeds 2 --plot",
    "bench": "bench eurosat-mobilenet-v2 --plot",
    "record": "ground --record",
    "query": "query boats --request",
    "ask": "ask boats --request",
}
"""Every command that writes one file, up to its name."""
FOLDERS = {
    "keys": "keys new n --dir",
    "infer": "infer eurosat-mobilenet-v2 a.tif --out",
    "replay": "replay --no-inference --orbits 1 --out",
    "sign": "sign eurosat-mobilenet-v2 --key KEYS/k.key.pem --out",
    "train": "train q-learning --steps 10 --out",
    "fit": "fit resnet18 --data . --out",
    "export": "export a.onnx --data . --out",
    "engine": "export a.onnx --data . --out x --engine",
    "engines": "models prepare eurosat-mobilenet-v2 --engines",
    "index": "query boats --index",
    "reproduce": "reproduce leo-iisat --quick --out",
}
"""Every command that writes a folder, up to its name."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file, an empty folder and a pair of keys, in which nothing else may appear."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.svg").write_text("kept")
    new_key(tmp_path / "keys", "k")
    before = sorted(tmp_path.rglob("*"))
    yield tmp_path
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file.svg").read_text() == "kept"


def ask(command: str, target: str, place: Path) -> Result:
    words = [word.replace("KEYS", str(place / "keys")) for word in command.split()]
    return CliRunner().invoke(cli, [*words, target])


def words_of(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.mark.parametrize("command", FILES.values(), ids=FILES)
def test_a_file_to_write_is_no_folder_not_below_a_file_and_not_nothing(command: str, place: Path) -> None:
    folder = ask(command, str(place / "folder"), place)
    assert (folder.exit_code, "is a folder, and a file is needed" in words_of(folder)) == (2, True)
    below = ask(command, str(place / "file.svg" / "x.svg"), place)
    assert (below.exit_code, "is a file, and nothing can lie in it" in words_of(below)) == (2, True)
    empty = ask(command, "", place)
    assert (empty.exit_code, "It is empty" in words_of(empty)) == (2, True)


@pytest.mark.parametrize("command", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_to_write_is_no_file_and_not_nothing(command: str, place: Path) -> None:
    taken = ask(command, str(place / "file.svg"), place)
    assert (taken.exit_code, "is a file, and a folder is needed" in words_of(taken)) == (2, True)
    empty = ask(command, "", place)
    assert (empty.exit_code, "It is empty" in words_of(empty)) == (2, True)


@pytest.mark.parametrize("command", FILES.values(), ids=FILES)
def test_where_nobody_may_write_a_file_is_refused_before_any_work(command: str, place: Path) -> None:
    refused = ask(command, "/proc/subsolar.svg", place)  # not even root makes a file there
    assert isinstance(refused.exception, StoreError)
    assert "/proc/subsolar.svg cannot be written" in str(refused.exception)


@pytest.mark.parametrize("name", ["keys", "infer", "replay", "sign", "train", "fit", "export", "reproduce"])
def test_where_nobody_may_write_a_folder_is_refused_in_words(name: str, place: Path) -> None:
    refused = ask(FOLDERS[name], "/proc/subsolar", place)
    assert not isinstance(refused.exception, OSError)
    assert refused.exit_code


@pytest.mark.parametrize(("command", "name"), [("bench", "a.png"), ("scenario", "a.txt"), ("evaluate", "a")])
def test_a_picture_whose_name_says_another_format_is_refused(command: str, name: str, place: Path) -> None:
    refused = ask(FILES[command], str(place / name), place)
    assert (refused.exit_code, "does not end in" in words_of(refused)) == (2, True)


def test_a_file_gets_the_folder_that_it_is_to_lie_in(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "telemetry.xml"
    assert CliRunner().invoke(cli, ["telemetry", "--out", str(target)]).exit_code == 0
    assert target.read_text().startswith("<?xml")
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_looking_whether_a_place_takes_a_file_makes_nothing(tmp_path: Path) -> None:
    assert writable(tmp_path / "new" / "deep") == tmp_path / "new" / "deep"
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_out(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_out(tmp_path / "link", b"new")
    assert ((tmp_path / "file").read_text(), (tmp_path / "link").is_symlink()) == ("new", True)


def test_an_output_that_vanished_since_it_was_proven_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SubsolarError, match="cannot be written"):
        write_out(tmp_path / "file" / "below", "text")
    with pytest.raises(click.BadParameter, match="nothing can lie in it"):
        OutFile().convert(str(tmp_path / "file" / "below"), None, None)


def test_export_over_a_package_that_is_there_is_refused_before_it_is_proven(tmp_path: Path) -> None:
    ended = CliRunner().invoke(cli, ["export", "a.onnx", "--data", ".", "--out", str(tmp_path)])
    assert (ended.exit_code, "give --replace" in words_of(ended)) == (2, True)
