"""Changing the network between slots: what has begun ends on the old one, what begins runs on the new one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Anything that holds memory until it is closed."""

    def close(self) -> None:
        """Give it back."""
        ...


T = TypeVar("T", bound=Closable)


class Swappable(Generic[T]):
    """Holds one active thing. ``stage`` another at any time; it becomes active at the next ``begin_slot``.

    Whoever holds a lease keeps what was active when it began; the old one is closed when its last lease ends.
    """

    def __init__(self, active: T) -> None:
        self._lock = threading.Lock()
        self._active = active
        self._staged: T | None = None
        self._leases: dict[int, int] = {}
        self._retired: dict[int, T] = {}

    @property
    def active(self) -> T:
        """What a lease would give now."""
        return self._active

    def stage(self, other: T) -> None:
        """Have ``other`` take over at the next slot. One that was staged and never active is closed."""
        with self._lock:
            dropped, self._staged = self._staged, other
        if dropped is not None:
            dropped.close()

    def begin_slot(self) -> T:
        """Make what was staged active, and return what is."""
        with self._lock:
            if self._staged is None:
                return self._active
            old, self._active, self._staged = self._active, self._staged, None
            closing = id(old) not in self._leases
            if not closing:
                self._retired[id(old)] = old
        if closing:
            old.close()
        return self._active

    @contextmanager
    def lease(self) -> Iterator[T]:
        """The active one, kept open for the length of the block."""
        with self._lock:
            held = self._active
            self._leases[id(held)] = self._leases.get(id(held), 0) + 1
        try:
            yield held
        finally:
            with self._lock:
                self._leases[id(held)] -= 1
                closing = None
                if self._leases[id(held)] == 0:
                    del self._leases[id(held)]
                    closing = self._retired.pop(id(held), None)
            if closing is not None:
                closing.close()

    def close(self) -> None:
        """Close what is active and what is staged."""
        with self._lock:
            staged, self._staged = self._staged, None
        if staged is not None:
            staged.close()
        self._active.close()
