"""The daemon's status for a person: one screen, from what its control socket says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .counting import counted
from .daemon.control import ask


def status_of(socket: Path) -> dict[str, Any]:
    """Return what a daemon says of itself. Raises ``MissionError`` where none answers."""
    return ask(socket, {"do": "status"}, timeout_s=10.0)


def watch(socket: Path, every_s: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[dict[str, Any]]:
    """Yield the status again and again until the daemon is gone or the caller stops."""
    while True:
        yield status_of(socket)
        sleep(every_s)


def table_of(status: Mapping[str, Any]) -> str:
    """Return one screen of text."""
    slot, charge, forecast, queue = status["slot"], status["charge"], status["forecast"], status["queue"]
    counts = status["counts"]
    lines = [
        f"{status['mission']}  {status['state'].upper()}  up {_span(status['uptime_s'])}  "
        f"subsolar {status['version']}  pid {status['pid']}",
        *(f"  !! {reason}" for reason in status["reasons"]),
        f"  next slot  {status['next_slot']} in {status['next_slot_in_s']:.0f} s   policy {_policy(status)}",
        f"  last slot  {_last(slot)}",
        f"  battery    {_charge(charge['frac'])} (reserve {charge['reserve_frac']:.0%})   ladder {status['ladder']}",
        f"  ahead      {forecast['quality'] or 'unknown'}{_age(forecast['tle_age_days'])}{_ahead(forecast)}",
        f"  queue      {counted(queue['tile'], 'tile')}, {counted(queue['products'], 'product')} "
        f"({counted(queue['byte'], 'byte')}) to send"
        f"{_unanswered(counts)}",
        f"  so far     {counted(counts['done_tile'], 'tile')} done, {counts['shed_tile']} shed, "
        f"{counts['failed_tile']} failed, {counted(counts['delivered_product'], 'product')} delivered"
        f"{_frames(counts, status.get('log_file'))}{_requests(counts)}",
        "  networks",
        *(f"    {_network(model)}" for model in status["models"]),
        f"  memory     {status['rss_byte'] / 1e6:.0f} MB",
    ]
    return "\n".join(lines)


def _policy(status: Mapping[str, Any]) -> str:
    """Return the policy that flies, and whether ``auto`` took it.

    >>> _policy({"policy": "greedy", "auto": {"reason": "it leads"}}), _policy({"policy": "greedy"})
    ('greedy, which auto took: it leads', 'greedy')
    """
    auto = status.get("auto")
    return f"{status['policy']}, which auto took: {auto['reason']}" if auto else str(status["policy"])


def _charge(frac: float | None) -> str:
    return "unknown" if frac is None or math.isnan(frac) else f"{frac:.1%}"


def _last(slot: Mapping[str, Any] | None) -> str:
    if slot is None:
        return "none yet"
    over = f" (overruled: {slot['overruled']})" if slot["overruled"] else ""
    did = f"{slot['model']}, {counted(slot['admitted_tile'], 'tile')}, {_joules(slot['energy_j'])}"
    return f"{slot['slot']}: {did}; {slot['reason']}{over}"


def _joules(energy_j: float | None) -> str:
    return "joules unknown" if energy_j is None or math.isnan(energy_j) else f"{energy_j:.3g} J"


def _network(model: Mapping[str, Any]) -> str:
    if "package" not in model:
        return f"{model['name']:<28} not loaded: {model['quarantine']}"
    trial = model["trial_slots_left"]
    word = f"on trial, {counted(trial, 'slot')} left" if trial is not None else "ok"
    word = word if model["healthy"] else f"left out: {model['quarantine']}"
    shadow = model["shadow"]
    what = f"{model['task']}: {' then '.join(model['stages']) or model['kind']}"
    beside = "" if shadow is None else f"   shadow v{shadow['version']}: {_share(shadow['agreement_frac'])}"
    return f"{model['name']:<28} v{model['version']} in {model['slot']:<8} {what:<24} {word}{beside}"


def _unanswered(counts: Mapping[str, Any]) -> str:
    """Return how many of the products in the queue were sent and wait for the ground's word.

    >>> _unanswered({"sent_product": 3})
    ', 3 of them sent and not confirmed'
    """
    return f", {counts['sent_product']} of them sent and not confirmed" if counts["sent_product"] else ""


def _frames(counts: Mapping[str, Any], log_file: str | None) -> str:
    """Return how many frames could not be used, nothing where all could; the log says why.

    >>> _frames({"refused_frame": 1}, "state/log.jsonl")
    '; 1 frame refused, see state/log.jsonl'
    """
    refused = counts.get("refused_frame", 0)
    return f"; {counted(refused, 'frame')} refused, see {log_file or 'the log'}" if refused else ""


def _requests(counts: Mapping[str, Any]) -> str:
    """Return what became of the ground's requests, nothing where there were none."""
    served, refused = counts.get("served_request", 0), counts.get("refused_request", 0)
    if not served and not refused:
        return ""
    raised = counts["raised_product"]
    return f"; {counted(served, 'request')} served, {refused} refused, {counted(raised, 'product')} worth more"


def _share(frac: float | None) -> str:
    return "nothing compared yet" if frac is None else f"{frac:.0%} alike"


def _age(days: float | None) -> str:
    return "" if days is None else f", elements {days:.1f} days old"


def _ahead(forecast: Mapping[str, Any]) -> str:
    said = []
    for name, word in (("pass_in_s", "pass"), ("eclipse_in_s", "eclipse")):
        seconds = forecast[name]
        if seconds is not None:
            said.append(f"{word} now" if seconds <= 0 else f"{word} in {_span(seconds)}" if seconds < 1e8 else "")
    return "".join(f", {text}" for text in said if text)


def _span(seconds: float) -> str:
    """Return a length of time in its two largest units.

    >>> _span(93784)
    '1 d 2 h'
    """
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    left = int(seconds)
    parts: list[str] = []
    for name, size in units:
        if left >= size or (name == "s" and not parts):
            parts.append(f"{left // size} {name}")
        left %= size
    return " ".join(parts[:2])
