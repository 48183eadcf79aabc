"""Named places where a spacecraft may lose power, its disk or its time, so that a test can take them away there.

``fault("store.commit.before_fsync")`` costs a dictionary lookup and does nothing unless a test has armed that name.
Every name stands in ``POINTS``, so what a campaign has exercised is a share of a known whole.

This is the one piece of module state in the runtime: a fault strikes from outside, not through a constructor.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass

from .errors import MissionError

POINTS: dict[str, str] = {
    "store.open.before_migration": "the database file exists, its tables do not",
    "store.commit.begin": "the transaction of a slot is open, nothing is written",
    "store.commit.before_products": "the tiles of a slot are written, its products are not",
    "store.commit.before_fsync": "everything of a slot is written, nothing is durable",
    "store.commit.after_fsync": "a slot is durable, its producer does not know",
    "store.transfer.before_fsync": "what a pass is about to send is written, not durable",
    "store.transfer.after_fsync": "what a pass is about to send is durable, no packet has left",
    "store.delivered.before_fsync": "an acknowledgement is written, not durable",
    "store.delivered.after_fsync": "an acknowledgement is durable, the pass goes on",
    "downlink.send.before_packet": "a packet is about to leave",
    "downlink.send.after_packet": "a packet has left",
    "ground.receive.before_insert": "a packet has arrived, nothing of it is kept",
    "ground.commit.before_fsync": "what arrived is written, not durable",
    "ground.commit.after_fsync": "what arrived is durable, no acknowledgement has left",
    "ground.acknowledge.after_send": "an acknowledgement has left",
    "cfdp.log.before_fsync": "the state of file transfers is written, not durable",
    "cfdp.log.after_fsync": "the state of file transfers is durable",
    "cfdp.receive.before_write": "a stretch of a file has come, nothing of it is written",
    "cfdp.sync.before_fsync": "stretches of a file are written, not durable",
    "cfdp.sync.after_fsync": "stretches of a file are durable, the log does not know",
    "cfdp.keep.before_rename": "a file is whole and verified, not yet at its place",
    "cfdp.keep.after_rename": "a file is at its place, the log does not know",
    "pictures.keep.before_rename": "a picture, or the values behind it, is written beside its place in the outbox",
    "pictures.keep.after_rename": "a picture is durable in the outbox, no transfer knows of it",
    "pictures.settle.before_unlink": "a picture's transfer has ended, the picture still lies in the outbox",
    "ground.record.after_write": "a packet is recorded as it came, the station has not looked at it",
    "ground.show.before_rename": "a new map, catalogue or report is written beside the old one",
    "ground.show.after_rename": "a new map, catalogue or report is at its place",
    "ledger.claim.before_fsync": "what a slot has worked off is written, not durable",
    "ledger.claim.after_fsync": "what a slot has worked off is durable, the slot is not kept yet",
    "models.stage.before_rename": "a package is unpacked and verified beside its slot",
    "models.stage.after_rename": "a package lies in its slot, the state does not know",
    "models.state.before_rename": "the new state of the packages is written beside the old one",
    "models.state.after_rename": "the new state of the packages is in force",
}

ACTIONS = ("kill", "enospc", "eio", "delay", "count")


@dataclass(slots=True)
class _Armed:
    action: str
    nth: int
    delay_s: float
    seen: int = 0


_armed: dict[str, _Armed] = {}


def arm(name: str, action: str, *, nth: int = 1, delay_s: float = 0.05) -> None:
    """Make the ``nth`` passage of ``name`` fail: ``kill`` (SIGKILL), ``enospc``, ``eio``, ``delay``, or only ``count``.

    Raises MissionError for a name or an action that does not exist.
    """
    if name not in POINTS:
        raise MissionError(f"There is no fault point {name!r}. Use one of {sorted(POINTS)}.")
    if action not in ACTIONS:
        raise MissionError(f"There is no fault action {action!r}. Use one of {list(ACTIONS)}.")
    _armed[name] = _Armed(action, nth, delay_s)


def arm_text(text: str) -> None:
    """Arm from ``NAME:ACTION`` or ``NAME:ACTION@NTH``, as a command line gives it."""
    name, _, rest = text.partition(":")
    action, _, nth = rest.partition("@")
    if nth and not nth.isdigit():
        raise MissionError(f"{text!r} asks for passage {nth!r}. Write NAME:ACTION@NUMBER.")
    arm(name, action, nth=int(nth or 1))


def disarm() -> None:
    """Make every fault point harmless again."""
    _armed.clear()


def passages(name: str) -> int:
    """How often ``name`` was passed since it was armed."""
    return _armed[name].seen if name in _armed else 0


def fault(name: str) -> None:
    """Fail here if a test has armed ``name``; raises OSError for ``enospc`` and ``eio``."""
    if not _armed or (armed := _armed.get(name)) is None:
        return
    armed.seen += 1
    if armed.seen == armed.nth:
        _strike(armed, name)


def _strike(armed: _Armed, name: str) -> None:
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif armed.action == "delay":
        time.sleep(armed.delay_s)
    elif armed.action in ("enospc", "eio"):
        code = errno.ENOSPC if armed.action == "enospc" else errno.EIO
        raise OSError(code, f"{os.strerror(code)} (armed at {name})")
