"""Progress on long work: one line that is rewritten on a terminal, a few plain lines in a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO


@dataclass
class Progress:
    """Call it with how much is done. ``stream`` gets at most about ten lines a task where it is no terminal."""

    stream: TextIO
    last_tenth: int = -1

    def __call__(self, done: int, total: int, what: str) -> None:
        """Say that ``done`` of ``total`` is finished; ``what`` tells the latest step in a few words."""
        line = f"[{done:>{len(str(total))}}/{total}] {what}"
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[K{line[:118]}" + ("\n" if done >= total else ""))
        elif (tenth := 10 * done // max(total, 1)) != self.last_tenth:
            self.last_tenth = tenth
            self.stream.write(line + "\n")
        self.stream.flush()
