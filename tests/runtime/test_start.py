"""The first moments of the command: nothing is promised before it is checked, and Ctrl-C is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_ctrl_c_while_the_command_still_loads_is_one_line() -> None:
    ended = run("-c", INTERRUPTED)
    assert (ended.returncode, ended.stderr) == (1, "subsolar: stopped by the user\n")


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
