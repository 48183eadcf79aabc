"""Requests on their way up: a file in the uplink folder of a mission, whole or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .daemon.mission import load_mission
from .daemon.requests import SUFFIX
from .durable import write_whole
from .errors import StoreError
from .tasks.request import UplinkRequest


@dataclass(frozen=True, slots=True)
class Sent:
    """A request and the file that it waits in."""

    request: UplinkRequest
    path: Path

    def summary(self) -> dict[str, Any]:
        """As plain values for JSON."""
        size_byte = len(self.request.encode())
        return {"request_id": self.request.request_id, "file": str(self.path), "size_byte": size_byte}

    def line(self) -> str:
        """For a person."""
        size_byte = len(self.request.encode())
        return f"{self.path}: {size_byte} bytes. The answer comes down as '{self.request.request_id}: …'."


def send_request(mission: Path, kind: str, text: str, *, worth: float = 1.0, count: int = 16) -> Sent:
    """Write a request of ``kind`` into the uplink folder of a mission file.

    The same request has the same name, so that one which still waits is not doubled. Raises ``ScenarioError`` for a
    mission file that does not hold, ``MissionError`` for a text that cannot be sent, ``StoreError`` where the folder
    cannot be written.
    """
    flown = load_mission(mission)
    name = f"{kind[0]}-{hashlib.sha256(f'{kind}{text}{worth}{count}'.encode()).hexdigest()[:8]}"
    request = UplinkRequest(request_id=name, kind=kind, text=text, worth=worth, count=count)
    path = flown.at(flown.flight.radio.uplink).resolve() / f"{name}{SUFFIX}"
    _write(path, request)
    return Sent(request, path)


def write_request(path: Path, kind: str, text: str, *, worth: float = 1.0, count: int = 16) -> None:
    """Write a request, called as the file, to ``path``. Raises as ``send_request`` does."""
    _write(path, UplinkRequest(request_id=path.stem, kind=kind, text=text, worth=worth, count=count))


def _write(path: Path, request: UplinkRequest) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, request.encode())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}. Check the folder's owner.") from error
