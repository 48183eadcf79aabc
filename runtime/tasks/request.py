"""What the ground asks of the craft between two passes: a small JSON record that the daemon takes from its inbox."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import MissionError

SCHEMA = 1
KINDS = ("search", "ask")
MOST_BYTE = 1024
LONGEST_CHAR = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkRequest:
    """One text for one task. ``kind``: ``search`` for tiles that a text describes, ``ask`` for an answer about them."""

    request_id: str
    kind: str
    text: str
    worth: float = 1.0
    """What the tile that fits best is worth more, or what a sure answer is worth."""
    count: int = 16
    """Tiles that may gain, or that are asked about, at most."""
    frame_id: str = ""
    """Of one frame alone; empty for all that is indexed."""
    until_unix_s: float | None = None
    """After which nobody wants the answer."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MissionError(f"A request of kind {self.kind!r:.40} is not known. Use {' or '.join(KINDS)}.")
        if not self.text.strip() or len(self.text) > LONGEST_CHAR:
            raise MissionError(
                f"Request {self.request_id!r:.40} has a text of {len(self.text.strip())} characters. "
                f"Give 1 to {LONGEST_CHAR}."
            )
        if not (0.0 < self.worth < 1e6 and 1 <= self.count <= 10_000):
            raise MissionError(
                f"Request {self.request_id!r:.40} has worth {self.worth:g} and count {self.count}. "
                "Use a worth above 0 and a count of 1 to 10000."
            )

    def encode(self) -> bytes:
        """The record as it is uplinked; what keeps its default is left out."""
        kept = {field.name: field.default for field in fields(self)}
        table = {name: value for name, value in asdict(self).items() if value != kept[name]}
        return json.dumps({"schema": SCHEMA, **table}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes) -> UplinkRequest:
        """What ``encode`` wrote. Raises ``MissionError`` for anything else."""
        if len(content) > MOST_BYTE:
            raise MissionError(f"A request of {len(content)} bytes is too long. Use {MOST_BYTE} at most.")
        try:
            table: dict[str, Any] = json.loads(content)
            if not isinstance(table, dict) or table.pop("schema", None) != SCHEMA:
                raise ValueError(f"not a record of schema {SCHEMA}")
            return cls(**_typed(table))
        except (ValueError, TypeError) as error:
            raise MissionError(
                f"This is no uplink request: {error}. Write one with subsolar query --request."
            ) from error


def _typed(table: dict[str, Any]) -> dict[str, Any]:
    kinds = {"worth": (int, float), "count": int, "until_unix_s": (int, float, type(None))}
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, kinds.get(name, str)):  # type: ignore[arg-type]
            raise ValueError(f"{name} is {value!r:.40}")
    return table
