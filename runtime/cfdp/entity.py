"""A CFDP entity: many transfers at once in both directions, kept over passes and reboots."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from ..errors import LinkError
from ..wire.codec import MalformedError
from .files import FileSink, FileSource, safe_relative
from .log import SenderRow, TransactionLog
from .pdus import (
    TOWARDS_SENDER,
    UNRECOGNISED,
    Ack,
    Condition,
    Finished,
    Header,
    Pdu,
    TransactionId,
    decode,
    encode,
)
from .receiver import Bounds, FileReceiver
from .sender import ENDED, FileSender, Phase, Timing

MAX_OPEN = 64
BOARD_ID, GROUND_ID = 1, 2
"""The entities of a mission with one spacecraft and one station."""
CHECKPOINT_BYTE = 4 << 20


@dataclass(frozen=True, slots=True)
class FileReport:
    """How one transfer ended."""

    transaction: TransactionId
    name: str
    received: bool
    """False for a file that was sent."""
    verdict: Condition
    confirmed: bool = True
    """False for a file that was sent with class 1: nobody says whether it has arrived."""

    @property
    def good(self) -> bool:
        """The file is whole at its destination, as far as anybody can know here."""
        return self.verdict is Condition.NONE and self.confirmed


class CfdpEntity:
    """Sends files and receives them into ``folder``; gives and takes PDUs, and knows nothing of links and clocks."""

    def __init__(
        self,
        local_id: int,
        folder: Path,
        log: TransactionLog,
        *,
        timing: Timing | None = None,
        bounds: Bounds | None = None,
        crc: bool = False,
    ) -> None:
        self.local_id = local_id
        self.rejected: Counter[str] = Counter()
        self.reports: list[FileReport] = []
        """Transfers that have ended since the owner last emptied this list."""
        self._folder = folder
        self._log = log
        self._timing = timing or Timing()
        self._bounds = bounds or Bounds()
        self._crc = crc
        self._senders: dict[TransactionId, tuple[FileSender, SenderRow]] = {}
        self._receivers: OrderedDict[TransactionId, tuple[FileReceiver, FileSink]] = OrderedDict()
        self._replies: list[bytes] = []
        self._unsaved_byte = 0
        for row in log.senders():
            self._restore_sender(row)

    def send(
        self, path: Path, dest_name: str, destination: int, *, value: float = 0.0, acknowledged: bool = True
    ) -> TransactionId:
        """Start to send a file; those of most ``value`` per byte go first. Raises LinkError and StoreError.

        Not ``acknowledged`` is class 1, for a link without a way back: it is sent once, and its end says only that.
        """
        if safe_relative(dest_name) is None:
            raise LinkError(f"{dest_name!r} is no name for a file at the other side. Use plain relative names.")
        source = FileSource(path)
        rank = value / max(1, source.size_byte)
        number = self._log.add_sender(
            destination,
            str(path.absolute()),
            dest_name,
            source.size_byte,
            source.checksum,
            rank,
            acknowledged=acknowledged,
        )
        row = SenderRow(number, destination, str(path), dest_name, source.size_byte, source.checksum, rank, "active", 0)
        row = replace(row, acknowledged=int(acknowledged))
        return self._add_sender(row, source, resumed=False)

    def insert(self, raw: bytes, now_s: float) -> None:
        """Take a PDU. Anything may be inserted; what is refused is counted by reason."""
        try:
            header, pdu = decode(raw)
            if isinstance(pdu, TOWARDS_SENDER) or (isinstance(pdu, Ack) and pdu.of_eof):
                self._insert_for_sender(header, pdu, now_s)
            else:
                self._insert_for_receiver(header, pdu, now_s)
        except MalformedError as error:
            self.rejected[error.reason] += 1

    def take(self, room_byte: int, now_s: float) -> bytes | None:
        """The next PDU of at most ``room_byte``: answers first, then files by value per byte."""
        if self._replies and len(self._replies[0]) <= room_byte:
            return self._replies.pop(0)
        for receiver, _ in self._receivers.values():
            if (raw := receiver.take()) is not None:
                return raw
        for sender, _ in self._by_rank():
            if (raw := _from(sender, room_byte, now_s)) is not None:
                self._close_ended(sender.header.transaction)
                return raw
        return None

    def tick(self, now_s: float) -> None:
        """Let time pass for all transfers."""
        for sender, _ in list(self._senders.values()):
            sender.tick(now_s)
        for receiver, sink in self._receivers.values():
            before = receiver.phase
            receiver.tick(now_s)
            self._note_end(receiver, sink, before)

    @property
    def waiting(self) -> bool:
        """Some transfer has sent all it can and waits for the other side."""
        return any(sender.waiting for sender, _ in self._senders.values())

    @property
    def busy(self) -> bool:
        """Some transfer has not ended and is not suspended."""
        transfers = [sender.phase for sender, _ in self._senders.values()]
        transfers += [receiver.phase for receiver, _ in self._receivers.values()]
        return Phase.ACTIVE in transfers

    @property
    def open_files(self) -> int:
        """Transfers that have not ended."""
        return len(self._senders) + sum(
            receiver.phase in (Phase.ACTIVE, Phase.SUSPENDED) for receiver, _ in self._receivers.values()
        )

    def ask_progress(self) -> None:
        """Let the sender that is on the move ask whether its receiver keeps up."""
        for sender, _ in self._by_rank():
            if sender.phase is Phase.ACTIVE and sender.left_byte and sender.header.acknowledged:
                sender.ask_progress()
                return

    def outgoing(self) -> tuple[SenderRow, ...]:
        """The files that are being sent."""
        return tuple(row for _, row in self._senders.values())

    def ended(self) -> frozenset[str]:
        """The paths of files whose transfers have ended, well or not, as far back as the log reaches."""
        open_paths = {row.path for row in self.outgoing()}
        return frozenset(row.path for row in self._log.senders(active=False) if row.phase != "active") - open_paths

    def drop(self, sequence: int) -> None:
        """Forget a file of ours without another word: the other side will hear of it only if it asks."""
        name = TransactionId(self.local_id, sequence)
        if name in self._senders:
            _, row = self._senders.pop(name)
            self._log.close_sender(row.sequence, Phase.FAILED.value, Condition.CANCELLED)

    def unacknowledge(self) -> None:
        """Send what is open with class 1, from its beginning: no way back is left. Raises StoreError."""
        rows = [row for row in self.outgoing() if row.acknowledged]
        if rows:
            self._log.unacknowledge()
        for row in rows:
            self._restore_sender(replace(row, acknowledged=0))

    def cancel(self, name: TransactionId) -> None:
        """Give a sender's file up. Unknown transactions are ignored."""
        if name in self._senders:
            self._senders[name][0].cancel()

    def suspend(self, why: str) -> None:
        """Stand still, and make durable what has come."""
        for sender, _ in self._senders.values():
            sender.suspend(why)
        for receiver, _ in self._receivers.values():
            receiver.suspend(why)
        self.checkpoint()

    def resume(self, now_s: float) -> None:
        """Go on where it stood; what has ended and could not be noted for want of a disk is noted now."""
        for name in list(self._senders):
            self._close_ended(name)
        for sender, _ in self._senders.values():
            sender.resume(now_s)
        for receiver, _ in self._receivers.values():
            receiver.resume()

    def checkpoint(self) -> None:
        """Make durable what has come since the last time, data before the map of it."""
        if not self._unsaved_byte:
            return
        rows = []
        for name, (receiver, sink) in self._receivers.items():
            if receiver.phase in (Phase.ACTIVE, Phase.SUSPENDED):
                sink.sync()
                rows.append((name, list(astuple(receiver.header)), receiver.state()))
        if rows:
            self._log.save_receivers(rows)
        self._unsaved_byte = 0

    def close(self) -> None:
        """Make durable what has come and close all files."""
        self.checkpoint()
        for _, sink in self._receivers.values():
            sink.close()

    def _by_rank(self) -> list[tuple[FileSender, SenderRow]]:
        return sorted(self._senders.values(), key=lambda entry: (-entry[1].rank, entry[1].sequence))

    def _insert_for_sender(self, header: Header, pdu: Pdu, now_s: float) -> None:
        if header.transaction.source != self.local_id:
            raise MalformedError("entity", f"for entity {header.transaction.source}")
        entry = self._senders.get(header.transaction)
        if entry is not None:
            entry[0].insert(pdu, now_s)
        elif isinstance(pdu, Finished):
            self._replies.append(encode(header, Ack(False, pdu.condition, UNRECOGNISED)))
        else:
            raise MalformedError("transaction", f"number {header.transaction.sequence}")

    def _insert_for_receiver(self, header: Header, pdu: Pdu, now_s: float) -> None:
        if header.destination != self.local_id:
            raise MalformedError("entity", f"for entity {header.destination}")
        receiver, sink = self._receiver(header)
        before, phase = receiver.held.total_byte, receiver.phase
        receiver.insert(pdu, now_s)
        self._unsaved_byte += receiver.held.total_byte - before
        self._note_end(receiver, sink, phase)
        if self._unsaved_byte >= CHECKPOINT_BYTE:
            self.checkpoint()

    def _note_end(self, receiver: FileReceiver, sink: FileSink, before: Phase) -> None:
        """Keep a verdict, and the end of a transfer that stood at ``before``."""
        if receiver.verdict is not None and before not in ENDED:
            self._save_verdict(receiver, sink)
        if receiver.phase in ENDED and before not in ENDED:
            self._log.save_receivers([(receiver.header.transaction, list(astuple(receiver.header)), receiver.state())])
            sink.close()

    def _save_verdict(self, receiver: FileReceiver, sink: FileSink) -> None:
        """Before anything is said about the end, it is durable; and it is reported once."""
        name = receiver.header.transaction
        logged = self._log.receiver(name)
        if logged is not None and logged[1]["verdict"] is not None:
            return
        self._log.save_receivers([(name, list(astuple(receiver.header)), receiver.state())])
        assert receiver.verdict is not None
        shown = str(sink.kept_as) if sink.kept_as else (receiver.metadata.dest_name if receiver.metadata else "")
        self.reports.append(FileReport(name, shown, True, receiver.verdict.condition))

    def _receiver(self, header: Header) -> tuple[FileReceiver, FileSink]:
        name = header.transaction
        entry = self._receivers.get(name) or self._restore_receiver(name)
        if entry is None:
            self._make_room()
            sink = self._sink(name)
            entry = FileReceiver(header, sink, self._timing, self._bounds), sink
            self._receivers[name] = entry
        return entry

    def _sink(self, name: TransactionId) -> FileSink:
        def save_map() -> None:
            if name in self._receivers:
                receiver = self._receivers[name][0]
                self._log.save_receivers([(name, list(astuple(receiver.header)), receiver.state())])

        return FileSink(self._folder, name, save_map)

    def _make_room(self) -> None:
        """Let go of transfers that have ended or stand still, which come back from the log when they go on.

        Refuses a new one where too many are on the move.
        """
        still = [name for name, (one, _) in self._receivers.items() if one.phase is not Phase.ACTIVE]
        leaving = still[: max(0, len(self._receivers) - MAX_OPEN + 1)]
        if leaving:
            self.checkpoint()
        for name in leaving:
            receiver, sink = self._receivers.pop(name)
            before = receiver.phase
            receiver.give_up()
            self._note_end(receiver, sink, before)
            sink.close()
        if len(self._receivers) >= MAX_OPEN:
            raise MalformedError("busy", f"{MAX_OPEN} transfers are open")

    def _restore_receiver(self, name: TransactionId) -> tuple[FileReceiver, FileSink] | None:
        logged = self._log.receiver(name)
        if logged is None:
            return None
        fields, state = logged
        header = Header(TransactionId(*fields[0]), *fields[1:])
        sink = self._sink(name)
        receiver = FileReceiver(header, sink, self._timing, self._bounds)
        receiver.restore(state, anew=not sink.begun)
        self._receivers[name] = receiver, sink
        if receiver.verdict is not None and state["verdict"] is None:
            self._save_verdict(receiver, sink)
        return receiver, sink

    def _restore_sender(self, row: SenderRow) -> None:
        try:
            source = FileSource(Path(row.path))
        except LinkError:
            self._senders.pop(TransactionId(self.local_id, row.sequence), None)
            self._log.close_sender(row.sequence, Phase.FAILED.value, Condition.FILESTORE_REJECTION)
            self.reports.append(self._sent_report(row, Condition.FILESTORE_REJECTION))
            return
        name = self._add_sender(row, source, resumed=True)
        if (source.size_byte, source.checksum) != (row.size_byte, row.checksum):
            self._senders[name][0].cancel(Condition.FILESTORE_REJECTION)

    def _add_sender(self, row: SenderRow, source: FileSource, *, resumed: bool) -> TransactionId:
        name = TransactionId(self.local_id, row.sequence)
        large, acknowledged = source.size_byte >= 1 << 32, bool(row.acknowledged)
        header = Header(name, row.destination, large=large, crc=self._crc, acknowledged=acknowledged)
        names = (Path(row.path).name[:100], row.dest_name)
        self._senders[name] = (FileSender(header, source, names, self._timing, resumed=resumed), row)
        return name

    def _close_ended(self, name: TransactionId) -> None:
        sender, row = self._senders[name]
        if sender.phase in ENDED:
            self._log.close_sender(row.sequence, sender.phase.value, sender.verdict)
            self.reports.append(self._sent_report(row, sender.verdict))
            del self._senders[name]

    def _sent_report(self, row: SenderRow, verdict: Condition) -> FileReport:
        name = TransactionId(self.local_id, row.sequence)
        return FileReport(name, row.dest_name, False, verdict, confirmed=bool(row.acknowledged))


def _from(sender: FileSender, room_byte: int, now_s: float) -> bytes | None:
    """What a sender has to send; one whose file has gone or changed tells the receiver that it gives up."""
    try:
        return sender.take(room_byte, now_s)
    except LinkError:
        sender.cancel(Condition.FILESTORE_REJECTION)
        return sender.take(room_byte, now_s)
