"""Why tiles were left out, summed up by kinds of reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


def left_out(reasons: Mapping[str, int], word: str) -> str:
    """How many tiles were left out, and for what kinds of reasons, the commonest first.

    >>> left_out({"nodata: 0% of it is valid": 35, "nodata: 11% of it is valid": 1, "dark": 2}, "shed")
    '38 shed (nodata 36, dark 2)'
    >>> left_out({"dark": 2}, "shed")
    '2 shed (dark)'
    """
    kinds = kinds_of(reasons)
    named = ", ".join(kind if len(kinds) == 1 else f"{kind} {count}" for kind, count in kinds.most_common(3))
    return f"{kinds.total()} {word}" + (f" ({named})" if named else "")


def kinds_of(reasons: Mapping[str, int]) -> Counter[str]:
    """Tiles by what stands before the colon of their reasons."""
    kinds: Counter[str] = Counter()
    for reason, count in sorted(reasons.items()):
        kinds[reason.partition(":")[0]] += count
    return kinds
