"""Feeds bytes that nobody should send to everything that reads the link: ``fuzz_wire.py [CASES [SEED]]``.

With ``atheris`` installed, `python benchmarks/fuzz_wire.py --atheris [SECONDS]` starts from one packet of each kind and
is guided by coverage; without SECONDS it runs until stopped. Without it, well-formed packets and PDUs are damaged at
random. Any exception but the refusal is a find, and is printed
with the bytes that caused it. What is read here: packets, batches, answers, housekeeping, PDUs, and a whole station.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cfdp.pdus import Condition, Eof, FileData, Finished, Header, Metadata, Nak, TransactionId, decode, encode
from runtime.downlink.links.stream import PacketSplitter
from runtime.ground.receiver import Receiver
from runtime.ground.station import finish, opened
from runtime.records import Footprint, Product
from runtime.wire.codec import MalformedError
from runtime.wire.messages import (
    Acknowledgement,
    Housekeeping,
    decode_acknowledgement,
    decode_housekeeping,
    encode_acknowledgement,
    encode_housekeeping,
)
from runtime.wire.packets import Apid, build, parse
from runtime.wire.payload import decode_batch, encode_batch

CASES = 200_000
DECODERS: tuple[Callable[[bytes], object], ...] = (
    parse,
    decode_batch,
    decode_acknowledgement,
    decode_housekeeping,
    decode,
)


def main(arguments: list[str]) -> int:
    """Fuzz, and say what was refused and why; 1 where something else than a refusal came out."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "ground") as (archive, receiver):
        if "--atheris" in arguments:
            arguments.remove("--atheris")
            return guided(receiver, Path(folder) / "corpus", int(arguments[0]) if arguments else 0)
        cases = int(arguments[0]) if arguments else CASES
        outside = sorted(path for path in Path(folder).iterdir())
        code = at_random(receiver, cases, int(arguments[1]) if len(arguments) > 1 else 0)
        receiver.commit()
        finish(Path(folder) / "ground", archive, receiver)  # what was accepted must also be shown
        assert sorted(path for path in Path(folder).iterdir()) == outside, "something was written outside its folder"
        print(f"the station holds {receiver.counts['products']} products and refused {sum(receiver.rejected.values())}")
        return code


def at_random(receiver: Receiver, cases: int, seed: int) -> int:
    """Damaged versions of good bytes, as many as asked for."""
    rng = np.random.default_rng([int.from_bytes(b"wire", "big"), seed])
    seeds = good_bytes()
    reasons: Counter[str] = Counter()
    started_s = time.process_time()
    for case in range(cases):
        raw = damaged(rng, seeds[int(rng.integers(len(seeds)))])
        try:
            reasons.update(try_all(raw, receiver, whole=case % 20 == 0))
        except Exception:
            print(f"case {case}: {raw.hex()}", file=sys.stderr)
            raise
    rate = cases / max(1e-9, time.process_time() - started_s)
    print(f"{cases} cases, {rate:,.0f} a CPU-second; " + ", ".join(f"{why} {n}" for why, n in reasons.most_common()))
    return 0


def guided(receiver: Receiver, corpus: Path, seconds: int) -> int:
    """Let atheris look for the way, from good bytes; a find is printed and ends the process with an error code."""
    atheris = importlib.import_module("atheris")
    corpus.mkdir()
    for number, raw in enumerate(good_bytes()):
        (corpus / str(number)).write_bytes(raw)
    atheris.instrument_all()
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda raw: try_all(raw, receiver, whole=True))
    atheris.Fuzz()
    return 0


def try_all(raw: bytes, receiver: Receiver, *, whole: bool) -> list[str]:
    """Give ``raw`` to every reader; return why it was refused."""
    reasons = [why for why in (refusal(reader, raw) for reader in DECODERS) if why]
    splitter = PacketSplitter()
    splitter.insert(raw)
    while splitter.take() is not None:
        pass
    if whole:
        for apid in (Apid.PRODUCTS, Apid.FILES, Apid.HOUSEKEEPING, Apid.PROMPT):
            receiver.insert(build(apid, len(raw), raw[:4000]))
    return reasons


def refusal(reader: Callable[[bytes], object], raw: bytes) -> str:
    """The reason of a refusal; nothing where the bytes mean something."""
    try:
        reader(raw)
    except MalformedError as error:
        return error.reason
    return ""


def damaged(rng: np.random.Generator, good: bytes) -> bytes:
    """Flip, cut, repeat or insert; sometimes everything at random."""
    raw = bytearray(good)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(raw))) if raw else 0
        kind = int(rng.integers(6))
        if kind == 0 and raw:
            raw[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and raw:
            raw[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
        elif kind == 2:
            del raw[at:]
        elif kind == 3:
            raw[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 4:
            raw += raw[at : at + int(rng.integers(1, 64))]
        else:
            raw[at : at + 8] = rng.bytes(8)
    return bytes(raw) if rng.random() < 0.95 else rng.bytes(int(rng.integers(0, 300)))


def good_bytes() -> list[bytes]:
    """One of each kind."""
    ring = ((10.0, 50.0), (10.1, 50.0), (10.1, 50.1), (10.0, 50.1), (10.0, 50.0))
    product = Product(
        "ab" * 8, 3, "label", "Forest", 0.9, 1.0, Footprint(ring), 1.75e9, "frame", 0, 64, 64, "package", "cd" * 32
    )
    batch = encode_batch(7, 1, [product, product], prompt=True)
    header, one_way = Header(TransactionId(1, 9), 2), Header(TransactionId(1, 10), 2, acknowledged=False)
    pdus = [
        Metadata(1000, "a", "b.bin", 3),
        FileData(0, bytes(100)),
        Eof(Condition.NONE, 5, 1000),
        Nak(0, 1000, ((0, 0), (10, 90))),
        Finished(Condition.NONE, True, True),
    ]
    return [
        batch,
        build(Apid.PRODUCTS, 1, batch, time_unix_s=1.75e9),
        encode_acknowledgement(Acknowledgement(7, 1, ((0, 3), (9, 2)))),
        encode_housekeeping(Housekeeping(3, 0.5, 20.0, 1, 2, 3, 4)),
        *(encode(header, pdu) for pdu in pdus),
        *(encode(one_way, pdu) for pdu in pdus[:3]),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
