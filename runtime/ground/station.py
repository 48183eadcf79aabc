"""The ground station as a process: listens, keeps, answers, and leaves a map and a report behind."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from ..cfdp import GROUND_ID, Bounds, CfdpEntity, TransactionLog
from ..downlink.chips import GROUND_FOLDER, RUNGS, picture_name, values_name
from ..downlink.links import Link, station_link
from ..downlink.links.folder import SUFFIX
from ..errors import AddressError, StoreError
from ..faults import fault
from ..records import Product
from ..strict_json import strict_json
from ..wire.packets import Apid, build, split_stream
from ..wire.seal import Seal
from .archive import Archive
from .geojson import shown, write_geojson
from .receiver import SHUTDOWN, Receiver
from .stac import write_stac

logger = logging.getLogger(__name__)
POLL_S = 0.25
LINE_S = 1.0
MAP_S = 5.0
ANSWER_BYTE = 1000
"""The longest answer about a file; what is missing beyond that is asked for in several."""


@dataclass(frozen=True, slots=True)
class GroundReport:
    """What the station has received so far, over all its starts; the content of ``ground.json``."""

    products: int
    duplicates: int
    packets: int
    bytes: int
    missing_packet: int
    gaps: tuple[tuple[int, int], ...]
    """Product packets that never came, as (first number, count); their content may have come again in later packets."""
    late_packet: int
    repeated_packet: int
    rejected: dict[str, int]
    """Refused packets by reason."""
    housekeeping: dict[str, Any] | None
    """The last state that the spacecraft reported."""
    files: int
    """Files received whole, in the folder ``files``."""
    failed_files: int


def run_ground(
    *,
    listen: str = "127.0.0.1:0",
    out: Path,
    recorded: Path | None = None,
    announce: Callable[[str], object] = lambda line: None,
    stop: Callable[[], bool] | None = None,
    allow_shutdown: bool = False,
    record: Path | None = None,
    watch: Callable[[str], object] = lambda line: None,
    key: Path | None = None,
) -> dict[str, Any]:
    """Receive until told to end, write ``products.geojson`` and ``ground.json`` into ``out``, and return the report.

    Listens at ``HOST:PORT`` (UDP), ``tcp:HOST:PORT``, ``serial:DEVICE`` or ``folder:PATH``; ``announce`` gets one line
    of JSON with the address in ``listening``, since port 0 takes a free one. Ends when ``stop`` says so (SIGTERM and
    SIGINT where it is None), or on a shutdown packet where that is allowed. ``record`` keeps every packet as it came;
    ``recorded`` reads such a file, or a folder of packets such as a spacecraft's outbox, instead of listening.
    ``watch`` gets a line for people about once a second while something comes in. ``key``: a file with the key that the
    spacecraft wants its answers sealed with.

    Raises LinkError for an address or a recording that cannot be used, StoreError for a folder that cannot be written.
    """
    if recorded is not None:
        return asdict(run_recording(recorded, out))
    seal = None if key is None else Seal.from_file(key)
    with ExitStack() as stack:
        ends = stop or stack.enter_context(stop_on_signals())
        return asdict(_listen(listen, out, announce, watch, ends, record, seal, allow_shutdown=allow_shutdown))


def _listen(
    listen: str,
    out: Path,
    announce: Callable[[str], object],
    watch: Callable[[str], object],
    stop: Callable[[], bool],
    record: Path | None,
    seal: Seal | None,
    *,
    allow_shutdown: bool,
) -> GroundReport:
    with opened(out, seal) as (archive, receiver):
        link, address = station_link(listen)
        with closing(link):
            port = address.rpartition(":")[2]
            announce(json.dumps({"listening": address, "port": int(port) if port.isdigit() else None, "out": str(out)}))
            desk = Desk(out, archive, receiver, watch)
            ended = partial(_ended, receiver, stop, allow_shutdown=allow_shutdown)
            serve(link, receiver, stop=ended, record=record, each=desk.look)
        return finish(out, archive, receiver)


def _ended(receiver: Receiver, stop: Callable[[], bool], *, allow_shutdown: bool) -> bool:
    return stop() or (allow_shutdown and receiver.ended)


class Desk:
    """Keeps people informed while packets come in: answers at once, a line a second, and the map now and then."""

    def __init__(self, out: Path, archive: Archive, receiver: Receiver, watch: Callable[[str], object]) -> None:
        self._out = out
        self._archive = archive
        self._receiver = receiver
        self._watch = watch
        self._shown_packets = self._mapped_products = 0
        self._shown_answers: frozenset[str] = frozenset()
        self._next_line_s = self._next_map_s = 0.0

    def look(self, *, idle: bool) -> None:
        """Show what is new, if it is time; the map only while nothing comes, and at most a tenth of the time."""
        self._say_answers()
        now_s = time.monotonic()
        packets, products = self._receiver.counts["packets"], self._receiver.counts["products"]
        if packets != self._shown_packets and now_s >= self._next_line_s:
            self._watch(self._receiver.line())
            self._shown_packets, self._next_line_s = packets, now_s + LINE_S
        if idle and products != self._mapped_products and now_s >= self._next_map_s:
            finish(self._out, self._archive, self._receiver)
            self._mapped_products = products
            self._next_map_s = time.monotonic() + max(MAP_S, 10 * (time.monotonic() - now_s))

    def _say_answers(self) -> None:
        answered = self._receiver.answered
        if answered.keys() != self._shown_answers:
            for name in answered.keys() - self._shown_answers:
                self._watch(f"answer to {answered[name]}")
            self._shown_answers = frozenset(answered)


def serve(
    link: Link,
    receiver: Receiver,
    *,
    stop: Callable[[], bool],
    record: Path | None = None,
    each: Callable[..., None] = lambda idle: None,
) -> None:
    """Insert what arrives and send what is to be answered, until ``stop``; at the end all of it is durable.

    A disk that refuses does not end it: what could not be kept is not acknowledged, and so comes again. Raises
    StoreError only where the last commit fails.
    """
    with _recorder(record) as keep:
        while not stop():
            raw = link.receive(POLL_S)
            try:
                if raw is not None:
                    keep(raw)
                    fault("ground.record.after_write")
                for answer in receiver.idle() if raw is None else receiver.insert(raw):
                    link.send(answer)
                    fault("ground.acknowledge.after_send")
                each(idle=raw is None)
            except StoreError as error:  # a full disk may empty again, and what was not acknowledged is sent again
                logger.error("Not kept and not acknowledged: %s", error)
    receiver.commit()


def run_recording(recording: Path, out_dir: Path) -> GroundReport:
    """Read packets one after the other: a file as ``record`` writes it, or a folder of ``*.packet`` files.

    Damaged stretches are skipped, and nothing is taken away. Raises ``AddressError`` where there is nothing to read.
    """
    try:
        parts = sorted(recording.glob(f"*{SUFFIX}")) if recording.is_dir() else [recording]
        data = b"".join(part.read_bytes() for part in parts)
    except OSError as error:
        raise AddressError(
            f"Cannot read {recording}: {error.strerror}. Give a file of space packets, or a folder of them."
        ) from error
    if not parts:
        raise AddressError(f"{recording} holds no *{SUFFIX} file. Give a spacecraft's outbox, or a recording.")
    with opened(out_dir) as (archive, receiver):
        for raw in split_stream(data):
            receiver.insert(raw)
        receiver.commit()
        return finish(out_dir, archive, receiver)


@contextmanager
def opened(out_dir: Path, seal: Seal | None = None) -> Iterator[tuple[Archive, Receiver]]:
    """The archive of ``out_dir`` and a receiver on it, made where there is none. Raises StoreError."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"Cannot use {out_dir}: {error}. Choose a folder that you may write to.") from error
    with (
        closing(Archive(out_dir / "ground.sqlite")) as archive,
        closing(TransactionLog(out_dir / "cfdp.sqlite")) as log,
    ):
        files = CfdpEntity(GROUND_ID, out_dir / "files", log, bounds=Bounds(pdu_byte=ANSWER_BYTE))
        with closing(files):
            yield archive, Receiver(archive, files, seal=seal)


def finish(out_dir: Path, archive: Archive, receiver: Receiver) -> GroundReport:
    """Write ``products.geojson``, the STAC catalog and ``ground.json``; return the report."""
    pictures = out_dir / "files" / GROUND_FOLDER
    have = {path.name for path in pictures.iterdir()} if pictures.is_dir() else set()

    def picture_of(product: Product) -> str | None:
        names = (picture_name(product.product_id, rung) for rung in RUNGS)
        return next((f"files/{GROUND_FOLDER}/{name}" for name in names if name in have), None)

    def values_of(product: Product) -> str | None:
        name = values_name(product.product_id)
        return f"files/{GROUND_FOLDER}/{name}" if name in have else None

    write_geojson(out_dir / "products.geojson", archive.products(), picture_of, values_of)
    write_stac(out_dir / "stac", archive.products())
    report = GroundReport(
        products=archive.count(),
        duplicates=receiver.counts["duplicates"],
        packets=receiver.counts["packets"],
        bytes=receiver.counts["bytes"],
        missing_packet=receiver.missing_packet,
        gaps=receiver.gaps(),
        late_packet=receiver.late_packet,
        repeated_packet=receiver.repeated_packet,
        rejected=dict(sorted(receiver.rejected.items())),
        housekeeping=receiver.housekeeping,
        files=receiver.counts["files"],
        failed_files=receiver.counts["failed_files"],
    )
    with shown(out_dir / "ground.json") as file:
        file.write(strict_json(asdict(report), indent=2) + "\n")
    return report


def shutdown_packet() -> bytes:
    """The packet that ends a station which allows it."""
    return build(Apid.CONTROL, 0, SHUTDOWN)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM and SIGINT set a flag instead of ending the process; the value tells whether one has come."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    earlier = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


@contextmanager
def _recorder(record: Path | None) -> Iterator[Callable[[bytes], object]]:
    if record is None:
        yield lambda raw: None
        return
    try:
        file = record.open("ab", buffering=0)  # what is acknowledged must stand in it, even if the station dies
    except OSError as error:
        raise StoreError(f"Cannot write {record}: {error}. Choose a file that you may write to.") from error
    with file:
        yield file.write
