"""Whatever arrives, a transfer survives it or says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.cfdp.checksum import CRC_32, MODULAR, checksum
from runtime.cfdp.files import safe_relative
from runtime.cfdp.pdus import (
    Ack,
    Condition,
    Eof,
    FileData,
    Finished,
    Header,
    KeepAlive,
    Metadata,
    Nak,
    Pdu,
    Prompt,
    TransactionId,
    decode,
    encode,
)
from runtime.cfdp.segments import SegmentSet
from runtime.wire.codec import MalformedError

SIZES = st.integers(0, 2**32 - 1)
CONDITIONS = st.sampled_from(list(Condition))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
PDUS: st.SearchStrategy[Pdu] = st.one_of(
    st.builds(Metadata, SIZES, NAMES, NAMES, st.sampled_from([0, 3, 15])),
    st.builds(FileData, SIZES, st.binary(min_size=1, max_size=50)),
    st.builds(Eof, CONDITIONS, SIZES, SIZES),
    st.builds(Nak, SIZES, SIZES, st.lists(st.tuples(SIZES, SIZES), max_size=4).map(tuple)),
    st.builds(Ack, st.booleans(), CONDITIONS, st.integers(0, 3)),
    st.builds(
        Finished,
        st.sampled_from([one for one in Condition if one is not Condition.INVALID_STRUCTURE]),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(Prompt, st.booleans()),
    st.builds(KeepAlive, SIZES),
)
HEADERS = st.builds(
    Header,
    st.builds(TransactionId, st.integers(0, 255), st.integers(0, 2**32 - 1)),
    st.integers(0, 255),
    large=st.booleans(),
    crc=st.booleans(),
)


@given(HEADERS, PDUS)
@settings(max_examples=200, deadline=None)
def test_every_pdu_comes_back_as_it_was(header: Header, pdu: Pdu) -> None:
    assert decode(encode(header, pdu)) == (header, pdu)


@given(HEADERS, PDUS, st.data())
@settings(max_examples=400, deadline=None)
def test_r23_damaged_pdus_are_understood_or_refused(header: Header, pdu: Pdu, data: st.DataObject) -> None:
    raw = bytearray(encode(header, pdu))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(raw)))
    try:
        decode(bytes(raw[:end]))
    except MalformedError as error:
        reason = error.reason
    else:
        reason = "none"
    assert reason in {"none", "truncated", "crc", "version", "length", "mode", "number", "pdu", "directive"}


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_r23_any_bytes_are_a_pdu_or_are_refused(raw: bytes) -> None:
    try:
        header, pdu = decode(raw)
    except MalformedError:
        return
    assert encode(header, pdu)


@given(pdus=st.lists(PDUS, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_r23_any_order_of_pdus_leaves_an_entity_that_works(make_world: Callable[..., Any], pdus: list[Pdu]) -> None:
    with TemporaryDirectory() as folder:
        world = make_world(folder=Path(folder))
        for number, pdu in enumerate(pdus):
            world.ground.insert(encode(Header(TransactionId(1, 77), 2), pdu), float(number))
            world.board.insert(encode(Header(TransactionId(1, 77), 2), pdu), float(number))
            while world.ground.take(1024, float(number)) is not None:
                pass
            world.ground.tick(number + 0.5)
        world.close()


def test_r23_an_end_for_a_reason_that_spacepackets_does_not_know_is_answered(make_world: Callable[..., Any]) -> None:
    """Found by fuzzing: condition 9 of the standard is missing in spacepackets 0.32."""
    world = make_world()
    raw = bytes.fromhex("20000a0301000000090204980c991a110f3d60e8")
    world.ground.insert(raw, 0.0)
    answers = []
    while (answer := world.ground.take(1024, 0.0)) is not None:
        answers.append(answer)
    assert decode(answers[0])[1] == Ack(True, Condition.INVALID_STRUCTURE, 1)
    assert decode(answers[1])[1] == Finished(Condition.CANCELLED, False, False)
    assert [report.verdict for report in world.ground.reports] == [Condition.CANCELLED]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20), st.integers(0, 60))
def test_a_segment_set_is_a_set_of_bytes(ranges: list[tuple[int, int]], end: int) -> None:
    held, naive = SegmentSet(), set()
    for start, stop in ranges:
        held.add(start, stop)
        naive |= set(range(start, stop))
    assert held.total_byte == len(naive)
    missing = {byte for start, stop in held.gaps(0, end) for byte in range(start, stop)}
    assert missing == set(range(end)) - naive
    assert held.covers(0, end) is (not missing)
    assert all(first[1] < second[0] for first, second in zip(held.ranges, held.ranges[1:], strict=False))


@given(st.binary(max_size=100), st.integers(1, 20))
def test_a_checksum_does_not_depend_on_how_a_file_is_read(data: bytes, words: int) -> None:
    parts = [data[at : at + 4 * words] for at in range(0, len(data), 4 * words)]
    for kind in (MODULAR, CRC_32):
        assert checksum(kind, parts) == checksum(kind, [data])


@given(st.text(max_size=30))
def test_r23_a_safe_name_stays_below_its_folder(name: str) -> None:
    relative = safe_relative(name)
    assert relative is None or not (relative.is_absolute() or ".." in relative.parts or name.startswith("."))


@pytest.mark.parametrize("name", ["chips/a.png", "slot-3_b~1.tif", "A b.txt"])
def test_plain_names_are_allowed(name: str) -> None:
    assert safe_relative(name) is not None
