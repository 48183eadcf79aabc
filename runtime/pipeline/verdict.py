"""What a person has to hear of a run of ``infer`` beside its table, and the exit code that says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..counting import counted
from .job import SceneResult
from .reasons import left_out

_NAMED = 3
"""Scenes that are named; the others are counted."""


def remarks(results: Sequence[SceneResult]) -> list[str]:
    """Lines about scenes that gave no answer and tiles that failed; none where every scene was answered whole."""
    good = [one for one in results if not one.error]
    blank, broken = [one for one in good if not one.done and not one.failed], [one for one in good if one.failed]
    lines = []
    if blank:
        shed = sum((Counter(one.shed) for one in blank), Counter[str]())
        files = "Its file is whole and empty." if len(blank) == 1 else "Their files are whole and empty."
        lines.append(f"no tile of {_names(blank)} was looked at: {left_out(shed, 'shed')}. {files}")
    if broken:
        failed = sum((Counter(one.failed) for one in broken), Counter[str]())
        (reason, _), *_ = failed.most_common(1)
        lines.append(f"{counted(failed.total(), 'tile')} of {_names(broken)} failed, most of them with: {reason}")
    return lines


def exit_code(results: Sequence[SceneResult], *, complete: bool, any_whole: bool) -> int:
    """0 where all is done or was screened out as asked, 3 where a part is missing, 1 where nothing came of it.

    ``any_whole``: whether any scene went all the way.
    """
    failed = any(one.failed for one in results)
    if complete and not failed:
        return 0
    return 3 if any_whole and any(one.done or not one.failed for one in results if not one.error) else 1


def _names(results: Sequence[SceneResult]) -> str:
    names = [one.scene for one in results]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
