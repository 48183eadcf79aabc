"""Prometheus metrics in the text exposition format 0.0.4, without a library: as a file, or on loopback."""

from __future__ import annotations

import http.server
import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MissionError

PREFIX = "subsolar"
BUCKETS_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
HELP = {
    "tiles_total": ("counter", "Tiles that ended, by network and result."),
    "tile_seconds": ("histogram", "Seconds of inference per tile, one observation per slot and network."),
    "energy_joules_total": ("counter", "Joules above idle spent on inference."),
    "battery_charge_ratio": ("gauge", "Charge over capacity, as believed."),
    "slot_deadline_missed_total": ("counter", "Slots that were not flown because the one before took too long."),
    "model_switch_total": ("counter", "Changes of the network from one slot to the next."),
    "queue_products": ("gauge", "Products that wait for a pass."),
    "queue_bytes": ("gauge", "Bytes of the products that wait for a pass."),
    "downlinked_bytes_total": ("counter", "Bytes handed to the link."),
    "engine_build_seconds": ("gauge", "Seconds that loading a network took, its golden tiles included."),
    "policy_overridden_total": ("counter", "Decisions that the shield changed, by what spoke against them."),
    "golden_tile_failures_total": ("counter", "Self-tests that failed."),
    "restarts_total": ("counter", "Starts of the daemon."),
    "ladder_step": ("gauge", "0 normal, 1 checkpoint, 2 shed, 3 safe."),
    "degraded": ("gauge", "1 while something keeps the daemon from its full work."),
    "build_info": ("gauge", "Always 1; the labels say what runs."),
}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Metrics:
    """Numbers by name and labels."""

    values: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[Labels, list[float]] = field(default_factory=dict)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Count up."""
        family = self.values.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        family[key] = family.get(key, 0.0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Put a gauge where it is."""
        self.values.setdefault(name, {})[tuple(sorted(labels.items()))] = value

    def observe_tile_s(self, seconds: float, **labels: str) -> None:
        """Put one observation into the histogram of seconds per tile."""
        counts = self.histograms.setdefault(tuple(sorted(labels.items())), [0.0] * (len(BUCKETS_S) + 2))
        for number, bound in enumerate(BUCKETS_S):
            counts[number] += seconds <= bound
        counts[-2] += 1
        counts[-1] += seconds

    def text(self) -> str:
        """Return the exposition."""
        lines: list[str] = []
        for name, (kind, what) in HELP.items():
            full = f"{PREFIX}_{name}"
            rows = list(self._histogram(full)) if kind == "histogram" else list(self._rows(name, full))
            if rows:
                lines += [f"# HELP {full} {what}", f"# TYPE {full} {kind}", *rows]
        return "\n".join(lines) + "\n"

    def _rows(self, name: str, full: str) -> list[str]:
        family = self.values.get(name, {})
        return [f"{full}{_labels(labels)} {_number(value)}" for labels, value in sorted(family.items())]

    def _histogram(self, full: str) -> list[str]:
        rows = []
        for labels, counts in sorted(self.histograms.items()):
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=False):
                rows.append(f"{full}_bucket{_labels((*labels, ('le', bound)))} {_number(count)}")
            rows.append(f"{full}_sum{_labels(labels)} {_number(counts[-1])}")
            rows.append(f"{full}_count{_labels(labels)} {_number(counts[-2])}")
        return rows


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, as the textfile collector asks. Raises ``OSError``."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


class MetricsServer:
    """Answers GET /metrics on 127.0.0.1."""

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = text().encode() if self.path == "/metrics" else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        try:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise MissionError(f"port {port} for metrics is taken: {error}. Change reports.metrics_port.") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else f"{value:.12g}"


def limit_of(overruled: str) -> str:
    """Return which limit an overruled decision met, from the shield's words."""
    words: Mapping[str, str] = {
        "accuracy": "accuracy",
        "unhealthy": "health",
        "not one tile fits the slot's energy": "energy",
        "not one tile fits the slot's time": "time",
        "not one tile fits the slot's heat": "heat",
    }
    return next((limit for text, limit in words.items() if text in overruled), "answer")
