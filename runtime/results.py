"""What a flight leaves behind: ``slots.csv`` line by line as it flies, then the summary and the report."""

from __future__ import annotations

import csv
import hashlib
import math
import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import TextIO

from exporters.measure import wilson_ci95
from power_sim.metrics import aee_per_j, aee_total_per_j

from .durable import write_whole
from .errors import StoreError
from .flight import Flight
from .mission_report import pass_records, reserve_of
from .records import SlotRecord
from .reserve_words import reserve_note

STORE, SLOTS, SUMMARY, REPORT, GROUND = "store.sqlite", "slots.csv", "summary.json", "report.html", "ground"
ARRIVED = f"{GROUND}/products.geojson"
DATABASES = (STORE, f"{GROUND}/ground.sqlite", f"{GROUND}/cfdp.sqlite")
REPLACED = (
    *(SUMMARY, REPORT, ARRIVED, f"{GROUND}/ground.json"),
    *(f"{database}{suffix}" for database in DATABASES for suffix in ("", "-wal", "-shm")),
)
EMPTIED = f"{GROUND}/files"
"""What an earlier flight's station has received."""
STATED_LIBRARIES = ("numpy", "onnxruntime", "rasterio", "sgp4", "spacepackets", "cryptography")


@dataclass
class ResultFiles:
    """The files of one flight in its folder. ``slots.csv`` is whole up to the last finished slot at any time."""

    folder: Path
    stream: TextIO
    written: list[SlotRecord] = field(default_factory=list)

    @classmethod
    @contextmanager
    def create(cls, folder: Path) -> Iterator[ResultFiles]:
        """Make the folder and start anew in it; an earlier flight's files are replaced, others left alone."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in REPLACED:
                (folder / old).unlink(missing_ok=True)
            if (folder / EMPTIED).is_dir():
                shutil.rmtree(folder / EMPTIED)
            stream = (folder / SLOTS).open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise cannot_write(folder, error) from error
        with stream:
            try:
                csv.writer(stream).writerow(field.name for field in fields(SlotRecord))
                stream.flush()
            except OSError as error:
                raise cannot_write(folder, error) from error
            yield cls(folder, stream)

    @property
    def store(self) -> Path:
        """The product store."""
        return self.folder / STORE

    @property
    def ground(self) -> Path:
        """The ground station's folder."""
        return self.folder / GROUND

    def append(self, record: SlotRecord) -> None:
        """Write one slot's line through to the file."""
        try:
            csv.writer(self.stream).writerow(asdict(record).values())
            self.stream.flush()
        except OSError as error:
            raise StoreError(
                f"cannot write {self.folder / SLOTS}: {error.strerror}. Free some space or give another --out; "
                f"{len(self.written)} slots are kept."
            ) from error
        self.written.append(record)

    def replace(self, name: str, text: str) -> None:
        """Write a file whole or not at all."""
        try:
            write_whole(self.folder / name, text)
        except OSError as error:
            raise StoreError(
                f"cannot write {self.folder / name}: {error.strerror}. Free some space and fly again."
            ) from error


def cannot_write(folder: Path, error: OSError) -> StoreError:
    """Return the refusal for a folder that takes no files."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"{folder} is a file or lies in one. Give another --out.")
    return StoreError(f"cannot write to {folder}: {error.strerror or error}. Free some space or give another --out.")


def summarise(flight: Flight) -> dict[str, object]:
    """Return what ``summary.json`` holds. Counts and joules are those of all admitted tiles, scaled from the sample."""
    slots = flight.slots
    scored, correct = sum(slot.scored_sampled for slot in slots), sum(slot.correct_sampled for slot in slots)
    tiles, energy_j = sum(slot.admitted_tile for slot in slots), math.fsum(slot.energy_j for slot in slots)
    right = math.fsum(slot.accuracy_frac * slot.admitted_tile for slot in slots if slot.scored_sampled)
    right_of = sum(slot.admitted_tile for slot in slots if slot.scored_sampled)
    correct_tile = right / right_of * tiles if right_of else math.nan
    idle_j, downlink_j = side_loads_j(flight)
    return {
        "scenario": flight.scenario.name,
        "scenario_sha256": flight.scenario.sha256,
        "policy": flight.policy,
        "auto": None if flight.verdict is None else flight.verdict.table(),
        "seed": flight.options.seed,
        "complete": flight.complete,
        "ended": flight.ended,
        "slots": len(slots),
        "orbits": flight.options.orbits or flight.scenario.orbit.orbits,
        "tiles": tiles,
        "tiles_sampled": sum(slot.sampled_tile for slot in slots),
        "tiles_scored": scored,
        "tiles_shed": sum(slot.shed_tile for slot in slots),
        "accuracy": or_none(correct / scored if scored else math.nan),
        "accuracy_ci95": list(wilson_ci95(correct, scored)) if scored else None,
        "accuracy_of_load": or_none(correct_tile / tiles if tiles else math.nan),
        "correct_tiles": or_none(correct_tile),
        "energy_j": energy_j,
        "energy_kind": "+".join(sorted({slot.energy_kind for slot in slots})) or "estimated",
        "aee_per_j": or_none(aee_per_j(correct_tile, energy_j)),
        "aee_total_per_j": or_none(aee_total_per_j(correct_tile, energy_j, idle_j, downlink_j)),
        "idle_j": idle_j,
        "downlink_j": downlink_j,
        "reward": math.fsum(slot.reward for slot in slots),
        "shield_overrides": sum(bool(slot.overruled) for slot in slots),
        "reserve_violations": sum(slot.reserve_violated for slot in slots),
        "reserve_note": reserve_note(slots, reserve_of(flight.scenario)),
        "charge_frac_min": min((slot.charge_frac for slot in slots), default=None),
        "models": dict(sorted(Counter(slot.model for slot in slots).items())),
        "products": len(flight.products),
        "delivered": len(flight.delivered),
        "received": flight.ground.get("products"),
        "sent_byte": sum(slot.sent_byte for slot in slots),
        "passes": len(pass_records(flight)),
        "notes": [*notes(flight), *auto_notes(flight)],
        "command": flight.options.command,
        "versions": versions(flight),
    }


def side_loads_j(flight: Flight) -> tuple[float, float]:
    """Return the joules of idle compute and of the radio over the flight."""
    power, slot_s = flight.scenario.power, flight.scenario.orbit.slot_s
    radio_s = math.fsum(slot.pass_s for slot in flight.slots)
    return power.idle_compute_w * slot_s * len(flight.slots), power.radio_w * radio_s


def notes(flight: Flight) -> list[str]:
    """Return what a reader has to know before the numbers."""
    published = all(slot.energy_kind == "published" for slot in flight.slots)
    joules = (
        "Joules, and the accuracy that a policy expects, are the published figures of the scenario; "
        "the accuracy measured here is that of the networks that ship, on their own tiles."
        if published
        else "Joules are estimates: measured CPU seconds per tile times an assumed power (see each package's profile)."
    )
    if not flight.options.infer:
        return [
            "No tile was looked at (--no-inference): counts are what the shield admitted, accuracy was not measured.",
            joules,
            "Orbit, Sun, battery and heat are simulated.",
        ]
    return [
        f"At most {flight.options.tiles_per_slot} of a slot's tiles were really cut and inferred; "
        "counts and joules are scaled from them to all admitted tiles.",
        joules,
        "Orbit, Sun, battery and heat are simulated; tiles, networks, packets and the ground station are real.",
        "The mosaic's chips are real Sentinel-2 images; where it places them on the map is not.",
    ]


def auto_notes(flight: Flight) -> list[str]:
    """Return what ``auto`` stood for, and why; nothing where a policy was named."""
    verdict = flight.verdict
    return [] if verdict is None else [f"Asked for auto, {verdict.policy} flew: {verdict.reason}."]


def versions(flight: Flight) -> dict[str, str]:
    """Return the versions and hashes that made the result."""
    table = {
        "subsolar": metadata.version("subsolar"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    table |= {name: metadata.version(name) for name in STATED_LIBRARIES}
    table["scenario"] = flight.scenario.sha256
    table |= {f"package {package.info.id}": package.sha256 for _, package in sorted(flight.packages.items())}
    table["slots"] = slots_sha256(flight.slots)
    return table


def slots_sha256(slots: Sequence[SlotRecord]) -> str:
    """Return the hash of all that two runs with one seed must share: every field but the measured times."""
    kept = [name.name for name in fields(SlotRecord) if not name.name.endswith("_measured_s")]
    text = "\n".join(",".join(repr(getattr(slot, name)) for name in kept) for slot in slots)
    return hashlib.sha256(text.encode()).hexdigest()


def or_none(value: float) -> float | None:
    """Return ``None`` for a figure that does not exist, since JSON has no NaN."""
    return None if math.isnan(value) else value


def table_of(summary: Mapping[str, object], folder: Path) -> str:
    """Return the result as a table for a person."""
    accuracy, interval = summary["accuracy"], summary["accuracy_ci95"]
    measured = "none scored"
    if isinstance(accuracy, float) and isinstance(interval, list):
        measured = (
            f"{accuracy:.1%} of {summary['tiles_scored']} scored tiles (95 % CI {interval[0]:.1%} to {interval[1]:.1%})"
        )
    models = summary["models"]
    assert isinstance(models, dict)
    rows = {
        "scenario, policy": f"{summary['scenario']}, {_policy(summary)}, seed {summary['seed']}",
        "slots": f"{summary['slots']} ({', '.join(f'{name} {count}' for name, count in models.items())})",
        "tiles": (
            f"{summary['tiles']:,} admitted, {summary['tiles_sampled']:,} really inferred, "
            f"{summary['tiles_shed']:,} shed"
        ),
        "accuracy": measured,
        "accuracy of the load": f"{_share(summary['accuracy_of_load'])} (each slot counted by its admitted tiles)",
        "energy": f"{summary['energy_j']:,.0f} J {summary['energy_kind']}",
        "right answers per joule": _pair(summary["aee_per_j"], summary["aee_total_per_j"]),
        "reward": f"{summary['reward']:.2f}",
        "shield overrides": str(summary["shield_overrides"]),
        "reserve violations": f"{summary['reserve_violations']}{_clause(summary.get('reserve_note'))}",
        "products": (f"{summary['products']:,} made, {summary['delivered']:,} delivered in {summary['passes']} passes"),
        "report": str(folder / REPORT),
        "ground station": str(folder / ARRIVED),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _policy(summary: Mapping[str, object]) -> str:
    return f"{summary['policy']}{' (auto)' if summary.get('auto') else ''}"


def _clause(note: object) -> str:
    return f" ({note})" if note else ""


def _share(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, float) else "none scored"


def _pair(inference: object, total: object) -> str:
    if not isinstance(inference, float) or not isinstance(total, float):
        return "none"
    return f"{inference:.1f} (with idle and downlink: {total:.1f})"
