"""The first moments of the command: nothing is promised before it is checked, and Ctrl-C is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime.cli import cli

INTERRUPTED = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from runtime.start import main
main()
"""


MISSING = """
import importlib.util
import sys
missing = sys.argv.pop(1)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=missing)
sys.meta_path.insert(0, Finder())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == missing else found(name, package)
from runtime.start import main
main()
"""


STOPPED = """
import sys
from runtime.start import main
def stop(*told):
    raise KeyboardInterrupt
from policies.tuning import _Practice
_Practice.tune = stop
sys.argv[1:] = ["train", "q-learning", "--scenario", "paper", "--out", sys.argv[1]]
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_ctrl_c_while_the_command_still_loads_is_one_line() -> None:
    ended = run("-c", INTERRUPTED)
    assert (ended.returncode, ended.stderr) == (1, "subsolar: stopped by the user\n")


def test_a_training_that_is_stopped_by_hand_was_no_wrong_usage(tmp_path: Path) -> None:
    ended = run("-c", STOPPED, str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith("subsolar: Training stopped after 0 slots. Run the same again")
    assert ended.stderr.count("\n") == 1


def test_a_mission_that_cannot_fly_is_not_said_to_fly(tmp_path: Path) -> None:
    mission = tmp_path / "mission.toml"
    mission.write_text('base = "cubesat-6u"\n[mission]\nstate = "state"\npackages = "nowhere"\n')
    ended = run("-m", "runtime", "run", str(mission))
    assert ended.returncode in (1, 2)
    assert "flying" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_where_no_daemon_answers_the_usage_was_right(tmp_path: Path) -> None:
    ended = run("-m", "runtime", "status", "--socket", str(tmp_path / "no.sock"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("subsolar: no daemon answers at ")


@pytest.mark.parametrize(
    ("library", "arguments", "extra"),
    [
        ("matplotlib", ["evaluate", "paper", "--plot", "plot.png"], "sim"),
        ("matplotlib", ["scenario", "cubesat-6u", "--plot", "plot.png"], "sim"),
        ("ray", ["infer", "eurosat-mobilenet-v2", "a.tif", "--executor", "ray"], "ray"),
    ],
)
def test_a_missing_extra_is_one_line_and_the_usage_was_right(library: str, arguments: list[str], extra: str) -> None:
    ended = run("-c", MISSING, library, *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert f"pip install 'subsolar[{extra}]'" in ended.stderr


@pytest.mark.parametrize("arguments", [["--from", "nope.bin"], ["--listen", "foo"], ["--listen", "folder:"]])
def test_a_station_is_told_at_once_that_its_address_or_recording_is_none(arguments: list[str], tmp_path: Path) -> None:
    ended = run("-m", "runtime", "ground", *arguments, "--out", str(tmp_path / "out"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("below", ["", "more"])
@pytest.mark.parametrize(
    "command",
    [
        "replay cubesat-6u",
        "infer PACKAGE a.tif",
        "ground --from a.bin",
        "train dqn",
        "fit resnet18 --data .",
        "reproduce",
        "sign PACKAGE --key a.pem",
    ],
)
def test_an_out_that_is_a_file_is_called_one(tmp_path: Path, command: str, below: str) -> None:
    (tmp_path / "file.md").write_text("kept")
    ended = CliRunner().invoke(cli, [*command.split(), "--out", str(tmp_path / "file.md" / below)])
    assert ended.exit_code == 2
    assert "file.md is a file, and a folder is needed" in " ".join(ended.output.split())
    assert (tmp_path / "file.md").read_text() == "kept"
