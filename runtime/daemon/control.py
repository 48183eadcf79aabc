"""The control socket: one JSON object per line in, one out. Reads are answered at once, commands by the main loop.

``{"do": "status"}`` and ``{"do": "slots", "since": N}`` read; everything else is put before the loop, which answers
between two slots. The protocol is the contract for ``subsolar status`` and ``subsolar watch``.
"""

from __future__ import annotations

import grp
import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MissionError, NoDaemonError, RefusedError
from ..store import ProductStore
from ..strict_json import strict_json

MAX_REQUEST_BYTE = 65_536
REPLY_S = 120.0
IDLE_S = 30.0
CLIENTS_MAX = 16
SLOTS_MAX = 2000
READS = ("status", "slots")


@dataclass(slots=True)
class Request:
    """A command on its way to the main loop, and the place for its answer."""

    do: str
    arguments: Mapping[str, Any]
    answer: queue.SimpleQueue[Mapping[str, Any]] = field(default_factory=queue.SimpleQueue)


class ControlServer:
    """Listens on a Unix socket that its owner, and one group if named, may use."""

    def __init__(
        self,
        path: Path,
        group: str,
        status: Callable[[], Mapping[str, Any]],
        store: Path,
        commands: queue.SimpleQueue[Request],
    ) -> None:
        self.path = path
        self._status = status
        self._store = store
        self._commands = commands
        self._clients = threading.BoundedSemaphore(CLIENTS_MAX)
        self._listener = _listen(path, group)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._clients.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="control-client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rwb") as stream:
                connection.settimeout(IDLE_S)
                while line := stream.readline(MAX_REQUEST_BYTE):
                    stream.write(strict_json(self._answer(line)).encode() + b"\n")
                    stream.flush()
        except (OSError, ValueError):
            pass  # the client is gone or says nothing; there is nobody to tell
        finally:
            self._clients.release()

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            asked = json.loads(line)
            do = asked["do"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": 'a request is one line such as {"do": "status"}'}
        if do == "status":
            return self._status()
        if do == "slots":
            return self._slots(asked.get("since", 0))
        request = Request(str(do), {key: value for key, value in asked.items() if key != "do"})
        self._commands.put(request)
        try:
            return request.answer.get(timeout=REPLY_S)
        except queue.Empty:
            return {"error": f"the daemon did not get round to {do!r} within {REPLY_S:.0f} s"}

    def _slots(self, since: object) -> Mapping[str, Any]:
        if not isinstance(since, int):
            return {"error": f"since = {since!r} is no slot number"}
        store = ProductStore.open_readonly(self._store)
        try:
            records = [record for record in store.decisions() if record.slot >= since]
        finally:
            store.close()
        from dataclasses import asdict

        return {"slots": [asdict(record) for record in records[-SLOTS_MAX:]]}


def ask(path: Path, request: Mapping[str, Any], timeout_s: float = REPLY_S) -> dict[str, Any]:
    """Send one request to a daemon; ``NoDaemonError`` where none answers, ``MissionError`` where it refuses
    (``RefusedError`` if what was asked for exists and did not hold)."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
    except PermissionError as error:
        raise NoDaemonError(f"you may not use {path}: ask for membership of its group, or use sudo.") from error
    except (OSError, ValueError) as error:
        raise NoDaemonError(f"no daemon answers at {path} ({error}). Start one: subsolar run MISSION.toml") from error
    if not isinstance(answer, dict):
        raise NoDaemonError(f"{path} answers {answer!r:.60}. It is not a subsolar daemon.")
    if "error" in answer:
        raise (RefusedError if answer.get("code") == 1 else MissionError)(str(answer["error"]))
    return answer


def _listen(path: Path, group: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        if group:
            number = grp.getgrnam(group).gr_gid
            if path.stat().st_gid != number:  # a service may be denied chown, and its socket has its group already
                os.chown(path, -1, number)
            path.chmod(0o660)
        listener.listen(8)
    except (OSError, KeyError) as error:
        listener.close()
        raise MissionError(f"the control socket {path} cannot be made: {error}. Check mission.socket.") from error
    finally:
        os.umask(before)
    return listener
