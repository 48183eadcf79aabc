"""The ground station as a child process on loopback, for a replay; it never outlives its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ..downlink.links import UdpLink
from ..errors import LinkError, SubsolarError
from ..strict_json import strict_json
from .station import run_ground, stop_on_signals

STOP_S = 60.0


class GroundProcess:
    """A station of its own in ``out``; ``connect`` gives the spacecraft's end of the link to it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self._process = process
        self.address = address

    @classmethod
    def start(cls, out: Path) -> GroundProcess:
        """Start it and wait until it listens; raises LinkError with its own words where it does not."""
        command = [sys.executable, "-m", "runtime.ground.process", str(out.absolute()), str(os.getpid())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the replay, which then stops the station in its turn
        )
        line = _pipe(process.stdout).readline()
        if not line:
            words = process.communicate()[1].strip().splitlines()
            raise LinkError(f"The ground station did not start: {words[-1] if words else 'no message'}")
        return cls(process, str(json.loads(line)["listening"]))

    def connect(self) -> UdpLink:
        """A link to the station."""
        return UdpLink.connect(self.address)

    def stop(self) -> Mapping[str, Any]:
        """End the station and return its report; raises LinkError where it fails to end well."""
        self._process.terminate()
        try:
            output, errors = self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise LinkError(f"The ground station did not end within {STOP_S:.0f} s. Look at its folder.") from error
        if self._process.returncode != 0:
            words = errors.strip().splitlines()
            raise LinkError(f"The ground station failed: {words[-1] if words else self._process.returncode}")
        report: Mapping[str, Any] = json.loads(output)
        return report

    def __enter__(self) -> GroundProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()


def main(arguments: list[str]) -> int:
    """Serve into folder ``arguments[0]`` until a signal comes or the parent is no longer process ``arguments[1]``."""
    out, parent = Path(arguments[0]), int(arguments[1])
    try:
        with stop_on_signals() as stopped:
            report = run_ground(
                listen="127.0.0.1:0",
                out=out,
                announce=_say,
                stop=lambda: stopped() or os.getppid() != parent,
            )
    except SubsolarError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(strict_json(report))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
