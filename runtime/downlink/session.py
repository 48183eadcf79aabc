"""One ground pass from the spacecraft's side: send the best, wait for the answer, send what was lost again.

A round of a pass is one *transfer*. Its content is durable before its first packet leaves, its number is never used
twice, and the ground answers by that number. So an answer that comes late, in the next pass or after a reboot, still
says exactly which products have arrived.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..cfdp import CfdpEntity, Condition, FileReport
from ..counting import counted
from ..faults import fault
from ..store.products import ProductStore, Transfer
from ..wire.codec import MalformedError
from ..wire.messages import Acknowledgement, Housekeeping, decode_acknowledgement, encode_housekeeping
from ..wire.packets import OVERHEAD_BYTE, UPLINK, Apid, build, build_all, parse
from ..wire.payload import HEAD_BYTE, encode_batch, prompted
from ..wire.seal import Seal, unsealed
from .links import Link
from .queue import Downlink, Load
from .rules import Rules, choose

PROMPT_BYTE = OVERHEAD_BYTE + HEAD_BYTE
MAX_ROUNDS = 8
MAX_DRAINED = 10_000
CANDIDATES = 50_000
"""Products considered for one round."""
SMALLEST_BYTE = 24
"""No product is shorter, so a budget never needs more candidates than this allows."""


@dataclass(frozen=True, slots=True)
class PassReport:
    """What one pass did. ``text`` is one line for people."""

    slot: int
    budget_byte: int
    sent_byte: int
    sent_product: int
    """Products that went out, each counted once, however often it had to be repeated."""
    delivered_product: int
    left_behind: int
    """Products that still wait, those without an answer among them."""
    repeated_product: int
    silent: bool
    """The ground did not answer."""
    text: str
    file_byte: int = 0
    """Of ``sent_byte``, what files took."""
    delivered_file: int = 0
    sent_file: int = 0
    """Files that have gone out on a one-way link: whether they have arrived nobody says."""
    files: tuple[FileReport, ...] = ()
    """Transfers that ended in this pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How packets are put on the link."""

    packet_byte: int = 2048
    window_packet: int = 32
    """Packets sent before the ground is asked what it has: as many as the smallest receive buffer holds."""
    answer_s: float = 2.0
    """How long an answer may take."""
    file_packet_byte: int = 4096
    lockstep: bool = False
    """Wait for what the ground says of each file before the next: the bytes sent do not depend on how fast it is."""
    prompts: int = 2
    """How often an answer that does not come is asked for again."""


class DownlinkSession:
    """Sends what waits in ``store`` through ``link``, pass by pass."""

    def __init__(
        self,
        store: ProductStore,
        link: Link,
        *,
        files: CfdpEntity | None = None,
        rules: Rules | None = None,
        pacing: Pacing | None = None,
        seal: Seal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With a ``seal``, what comes up without the right code is refused, whatever it says."""
        self._store = store
        self._link = link
        self._files = files
        self._rules = rules or Rules()
        self._rules_text = ""
        self._sent_labels: Counter[str] = Counter()
        self._pacing = pacing or Pacing()
        self._seal = seal
        self._clock = clock
        self._left_byte = 0
        self._completing = False
        """The round sends outlines of what is down already."""
        self._control_sequence = 0
        self._time_unix_s = 0.0
        self.rejected: Counter[str] = Counter()
        """Uplink packets that were refused, by reason."""

    def run_pass(self, slot: int, budget_byte: int, *, unix_s: float | None = None) -> PassReport:
        """Spend at most ``budget_byte`` on the products of most value and mark as delivered what the ground confirms.

        Every byte on the link counts, packet headers and prompts too. ``unix_s`` is the time that the packets carry;
        without it, that of the best product. Raises StoreError and LinkError; what was confirmed stays confirmed.
        """
        self._left_byte = budget_byte
        sent: set[str] = set()
        outlines: set[str] = set()
        repeated = delivered = 0
        silent = False
        self._sent_labels.clear()
        self._rules_text = ""
        if budget_byte > PROMPT_BYTE:
            self._time_unix_s = self._newest_unix_s() if unix_s is None else unix_s
            one_way = self._rules.one_way
            delivered += 0 if one_way else self._drain()
            self._send_housekeeping(slot)
            delivered += 0 if one_way else self._settle_earlier()
            for _ in range(MAX_ROUNDS):
                ids, arrived, silent = self._round(slot)
                if self._completing:
                    outlines.update(ids)
                else:
                    repeated += len(sent.intersection(ids))
                    sent.update(ids)
                delivered += arrived
                if silent or one_way or not ids:
                    break
        report = self._report(slot, budget_byte, len(sent), delivered, repeated, len(outlines), silent=silent)
        if self._files is None or silent or budget_byte <= PROMPT_BYTE:
            return report
        return self._run_files(self._files, report)

    def _run_files(self, files: CfdpEntity, report: PassReport) -> PassReport:
        """Spend what products have left over on files; what is missing of one goes on in the next pass."""
        start_byte, in_window, unanswered = self._left_byte, 0, 0
        files.resume(self._clock())
        if self._rules.one_way:
            files.unacknowledge()
        while unanswered <= self._pacing.prompts:
            room_byte = min(self._pacing.file_packet_byte, self._left_byte) - OVERHEAD_BYTE
            raw = files.take(room_byte, self._clock())
            if raw is not None:
                self._control_sequence += 1
                self._send(build(Apid.FILES, self._control_sequence, raw, time_unix_s=self._time_unix_s))
                in_window = 0 if in_window >= self._pacing.window_packet else in_window + 1
                if in_window == self._pacing.window_packet:
                    files.ask_progress()
                answer = self._file_answer(files, asked=in_window == 0)
            elif files.waiting and not self._rules.one_way:
                answer = self._link.receive(self._pacing.answer_s)
                unanswered = 0 if answer is not None else unanswered + 1
                files.tick(self._clock())
            else:
                break
            if answer is not None:
                self._read(answer)
        files.suspend("the pass is over")
        ended = tuple(files.reports)
        delivered = sum(one.good and not one.received for one in ended)
        sent = sum(not one.confirmed and one.verdict is Condition.NONE for one in ended)
        files.reports.clear()
        file_byte = start_byte - self._left_byte
        text = f"{report.text}; {file_byte} bytes of files, {delivered} complete, {files.open_files} under way"
        return replace(
            report,
            sent_byte=report.sent_byte + file_byte,
            file_byte=file_byte,
            delivered_file=delivered,
            sent_file=sent,
            files=ended,
            text=f"{text}, {sent} sent and not confirmed" if sent else text,
        )

    def _file_answer(self, files: CfdpEntity, *, asked: bool) -> bytes | None:
        """What the ground says of files: waited for after a question, else only taken where it is there."""
        if self._rules.one_way:
            return None
        if asked or (self._pacing.lockstep and files.waiting):
            return self._link.receive(self._pacing.answer_s)
        return None if self._pacing.lockstep else self._link.receive(0.0)

    def _round(self, slot: int) -> tuple[tuple[str, ...], int, bool]:
        """Send one transfer; return the ids it carried, how many arrived, and whether nobody answered."""
        transfer = self._store.next_transfer()
        downlink = Downlink(packet_byte=self._pacing.packet_byte)
        candidates = min(CANDIDATES, self._left_byte // SMALLEST_BYTE + 1)
        repeats = self._rules.repeats if self._rules.one_way else None
        pending = self._store.pending(candidates if self._rules == Rules() else CANDIDATES, sent_below=repeats)
        choice = choose(self._rules, pending, self._left_byte, self._sent_labels)
        self._rules_text = choice.text if not self._sent_labels else self._rules_text
        downlink.offer(choice.products, ordered=True)
        loads = downlink.take(self._left_byte, transfer=transfer)
        chosen = choice.products
        self._completing = not loads
        if self._completing and candidates > 1:  # everything is down: now the outlines that had to stay behind
            chosen = self._store.bare(candidates)
            downlink.offer(chosen, ordered=True)
            loads = downlink.take(self._left_byte, transfer=transfer)
        if not loads:
            return (), 0, False
        labels = {product.product_id: product.label for product in chosen}
        bare = {product.product_id for product in chosen if product.footprint is None}
        bare &= {product.product_id for product in pending if product.footprint is not None}
        self._sent_labels.update(labels[name] for load in loads for name in load.product_ids)
        sequence = self._store.next_sequence()
        batches = tuple(load.product_ids for load in loads)
        packet, sent_byte = sum(load.packet for load in loads), sum(load.sent_byte for load in loads)
        self._store.mark_sent(Transfer(transfer, slot, sequence, packet, sent_byte, batches, frozenset(bare)))
        answer = self._send_windows(transfer, loads, sequence)
        arrived = 0
        if answer is not None:
            arrived = self._store.mark_acknowledged(transfer, answer.ranges, complete=True)
        silent = answer is None and not self._rules.one_way
        return tuple(name for batch in batches for name in batch), arrived, silent

    def _send_windows(self, transfer: int, loads: Sequence[Load], sequence: int) -> Acknowledgement | None:
        """Send ``loads``, pausing for an answer after each window; return the answer to the last one.

        Once a window goes unanswered the rest is sent without pauses: the link may be one-way.
        """
        answer: Acknowledgement | None = None
        in_window, silent = 0, False
        for load in loads:
            in_window += load.packet
            is_last = load is loads[-1]
            asks = is_last or (in_window >= self._pacing.window_packet and not silent)
            asks = asks and not self._rules.one_way
            for packet in self._packets(prompted(load.payload) if asks else load.payload, sequence):
                self._send(packet)
            sequence += load.packet
            if asks:
                answer = self._await(transfer, load.index, len(loads))
                in_window, silent = 0, answer is None
        return answer

    def _packets(self, payload: bytes, sequence: int) -> list[bytes]:
        packet_byte = self._pacing.packet_byte
        return build_all(Apid.PRODUCTS, sequence, payload, time_unix_s=self._time_unix_s, packet_byte=packet_byte)

    def _drain(self) -> int:
        """Use the answers that came since the last pass."""
        delivered = 0
        for _ in range(MAX_DRAINED):
            raw = self._link.receive()
            if raw is None:
                break
            if (answer := self._read(raw)) is not None:
                delivered += self._store.mark_acknowledged(answer.transfer, answer.ranges)
        return delivered

    def _settle_earlier(self) -> int:
        """Ask about transfers that were never answered for, before their products are sent again."""
        delivered = 0
        for transfer in self._store.open_transfers():
            answer = self._ask(transfer, 0)
            if answer is None:
                break
            delivered += self._store.mark_acknowledged(transfer, answer.ranges, complete=True)
        return delivered

    def _await(self, transfer: int, index: int, batches: int) -> Acknowledgement | None:
        """The answer to the prompt in batch ``index``; where none comes, ask again with indices above all batches."""
        answer = self._listen(transfer, index)
        for attempt in range(self._pacing.prompts):
            if answer is not None:
                break
            answer = self._ask(transfer, min(batches + attempt, 0xFFFF))
        return answer

    def _ask(self, transfer: int, index: int) -> Acknowledgement | None:
        if self._left_byte < PROMPT_BYTE:
            return None
        self._control_sequence += 1
        question = encode_batch(transfer, index, (), prompt=True)
        self._send(build(Apid.PROMPT, self._control_sequence, question, time_unix_s=self._time_unix_s))
        return self._listen(transfer, index)

    def _listen(self, transfer: int, prompt: int) -> Acknowledgement | None:
        """Take what arrives until the answer to ``prompt`` is there or its time is over."""
        until_s = self._clock() + self._pacing.answer_s
        while (left_s := until_s - self._clock()) > 0:
            raw = self._link.receive(left_s)
            if raw is None:
                return None
            answer = self._read(raw)
            if answer is not None and (answer.transfer, answer.prompt) == (transfer, prompt):
                return answer
        return None

    def _read(self, raw: bytes) -> Acknowledgement | None:
        try:
            packet = parse(raw)
            if packet.apid not in UPLINK:
                raise MalformedError("apid", packet.apid.name)
            data = unsealed(self._seal, packet)
            if packet.apid == Apid.ACKNOWLEDGE:
                return decode_acknowledgement(data)
            if self._files is None:
                raise MalformedError("apid", packet.apid.name)
            self._files.insert(data, self._clock())
            return None
        except MalformedError as error:
            self.rejected[error.reason] += 1
            return None

    def _send(self, packet: bytes) -> None:
        fault("downlink.send.before_packet")
        self._link.send(packet)
        self._left_byte -= len(packet)
        fault("downlink.send.after_packet")

    def _send_housekeeping(self, slot: int) -> None:
        last = self._store.last_decision()
        counts = self._store.counts()
        product, byte = self._store.backlog()
        state = Housekeeping(
            slot=slot,
            charge_frac=last.charge_frac if last else 0.0,
            temperature_c=last.temperature_c if last else 0.0,
            backlog_product=product,
            backlog_byte=byte,
            delivered_product=counts.delivered_product,
            shed_product=counts.shed_product,
        )
        packet = build(Apid.HOUSEKEEPING, slot, encode_housekeeping(state), time_unix_s=self._time_unix_s)
        if len(packet) <= self._left_byte:
            self._send(packet)

    def _newest_unix_s(self) -> float:
        newest = self._store.pending(1)
        return newest[0].captured_unix_s if newest else 0.0

    def _report(
        self, slot: int, budget_byte: int, sent: int, delivered: int, repeated: int, outlines: int, *, silent: bool
    ) -> PassReport:
        left, left_byte = self._store.backlog()
        sent_byte = budget_byte - self._left_byte
        text = f"sent {counted(sent, 'product')} in {sent_byte} of {budget_byte} bytes, {delivered} confirmed"
        if outlines:
            text += f", {counted(outlines, 'outline')} of earlier ones"
        if repeated:
            text += f", {repeated} repeated"
        if silent:
            text += ", the ground did not answer"
        if self._rules_text:
            text += f"; {self._rules_text}"
        if left:
            text += f"; {left} left behind ({left_byte} bytes, worth {self._store.waiting_value():.4g})"
        return PassReport(slot, budget_byte, sent_byte, sent, delivered, left, repeated, silent, text)
