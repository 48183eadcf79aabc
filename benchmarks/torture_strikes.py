"""How a mission of ``torture.py`` is struck, in a process of its own, and what is asked of it afterwards."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torture_mission import (
    Mission,
    fly,
    fly_restarting,
    fly_staying,
    intact,
    outcome,
    promises_kept,
    ready_again,
)

from runtime import faults

BUILD = Path("build/torture")
KILL, CUT, NO_SPACE, IO_ERROR = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Shim:
    """``faulty_io.c``, preloaded. Its counts lie in memory that children share with their parent."""

    library: ctypes.CDLL

    def arm(self, mission: Mission | None, action: int = 0, nth: int = 0, *, span: int = 0, seed: int = 0) -> None:
        """Begin to count the disk calls below a mission's folder, and strike at the n-th; without a mission at none."""
        folder = b"" if mission is None else os.fsencode(mission.folder)
        numbers = ctypes.c_long(nth), ctypes.c_long(span), ctypes.c_uint(seed)
        self.library.faulty_arm(folder, action, *numbers)

    @property
    def calls(self) -> int:
        """Disk calls since it was armed."""
        return self._told("faulty_seen")

    @property
    def writing_calls(self) -> int:
        """Those of them that need room on the disk."""
        return self._told("faulty_seen_writing")

    @property
    def struck(self) -> int:
        """Faults injected since it was armed."""
        return self._told("faulty_struck")

    def _told(self, name: str) -> int:
        function = getattr(self.library, name)
        function.restype = ctypes.c_long
        return int(function())


def preload() -> Shim | None:
    """The fault library; compiles it and starts this program again below it where that has not happened."""
    library = (BUILD / "faulty_io.so").resolve()
    if os.environ.get("LD_PRELOAD") == str(library):
        return Shim(ctypes.CDLL(None))
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or platform.system() != "Linux":
        print("torture needs Linux and a C compiler: install one (cc) and run it again", file=sys.stderr)
        return None
    BUILD.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("faulty_io.c")
    part = library.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(part), str(source), "-ldl"], check=True)
    part.replace(library)
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(library)})


@dataclass(frozen=True, slots=True)
class Strike:
    """One way to disturb a mission. ``survives``: it has to come to its end by itself, in the same process."""

    run: Callable[[Mission], None]
    survives: bool = False


def at_call(shim: Shim, action: int, nth: int, *, seed: int = 0) -> Strike:
    """A mission that dies at its n-th disk call."""

    def run(mission: Mission) -> None:
        shim.arm(mission, action, nth, seed=seed)
        fly(mission)

    return Strike(run)


def failing(shim: Shim, action: int, nth: int, *, span: int, restarts: bool) -> Strike:
    """A mission whose disk refuses at the n-th call and ``span`` times more, and then no longer."""

    def run(mission: Mission) -> None:
        shim.arm(mission, action, nth, span=span)
        (fly_restarting if restarts else fly_staying)(mission, lambda: shim.struck)

    return Strike(run, survives=True)


def at_point(point: str) -> Strike:
    """A mission that is killed at a named fault point."""

    def run(mission: Mission) -> None:
        faults.arm(point, "kill")
        fly(mission)

    return Strike(run)


@dataclass(slots=True)
class Tally:
    """What a campaign found."""

    runs: int = 0
    struck: int = 0
    """Runs in which a fault was really injected."""
    faults: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    corrupt: int = 0
    failed: int = 0
    """Runs that did not come back: they failed without a cause, or did not end as the undisturbed one."""
    longest_restart_s: float = 0.0

    @property
    def bad(self) -> int:
        """Broken invariants."""
        return self.lost + self.doubled + self.different + self.corrupt + self.failed


def judge(shim: Shim, mission: Mission, strike: Strike, expected: dict[str, Any], tally: Tally) -> None:
    """Fly with the strike, check what was promised and what lies on the disk, fly on, compare the end."""
    mission.folder.mkdir()
    shim.arm(None)
    status = in_child(lambda: strike.run(mission))
    tally.runs += 1
    tally.struck += shim.struck > 0 or status == -signal.SIGKILL
    tally.faults += shim.struck
    recovered = status == 0 if strike.survives else status in (0, -signal.SIGKILL)
    if strike.survives and recovered:
        recovered = as_expected(mission, outcome(mission), expected)
    whole = intact(mission)
    tally.lost += not promises_kept(mission)
    started_s = time.monotonic()
    recovered = ready_again(mission) and recovered
    tally.longest_restart_s = max(tally.longest_restart_s, time.monotonic() - started_s)
    if in_child(lambda: fly(mission)) != 0:
        tally.failed += 1
        tally.corrupt += not whole
        return
    got = outcome(mission)
    tally.failed += not recovered
    tally.doubled += len(got["ids"]) != len(set(got["ids"])) or bool(got["files_wrong"])
    tally.different += not as_expected(mission, got, expected)
    tally.corrupt += not (whole and intact(mission))
    if recovered and got == expected:
        shutil.rmtree(mission.folder)


def as_expected(mission: Mission, got: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether a mission has left what the undisturbed one has; says what is different where not."""
    for name, value in got.items():
        if value != expected[name]:
            print(f"{mission.folder.name}: {name} is {value}, not {expected[name]}", file=sys.stderr)
    return got == expected


def in_child(run: Callable[[], None]) -> int:
    """Run in a forked process; its exit status, negative for a signal."""
    child = start(run)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(run: Callable[[], None]) -> int:
    """Fork a process that runs ``run`` in a group of its own."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        run()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child: int) -> int | None:
    """The exit status of a child that has ended."""
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def kill_group(child: int, number: int = signal.SIGKILL) -> int:
    """Kill a child and everything that it has started, wait for its end, and return 0: no child."""
    try:
        os.killpg(child, number)
    except ProcessLookupError:  # it has not yet made its group
        os.kill(child, number)
    os.waitpid(child, 0)
    return 0
