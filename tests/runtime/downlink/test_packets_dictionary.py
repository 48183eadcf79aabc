"""The telemetry dictionary describes the packets as they are, and is XTCE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from runtime.records import Product
from runtime.wire.dictionary import NAMESPACE, dictionary
from runtime.wire.fields import Field, decode_fields, encode_fields
from runtime.wire.messages import HOUSEKEEPING_FIELDS, Housekeeping, encode_housekeeping
from runtime.wire.packets import Apid, build
from runtime.wire.payload import HEAD, HEAD_BYTE, encode_batch

NAMES = {"x": NAMESPACE}
STATE = Housekeeping(77, 0.625, -12.34, 100, 5000, 20, 3)


def test_every_telemetry_apid_has_its_container() -> None:
    root = Xml.fromstring(dictionary())
    values = {
        int(comparison.get("value", "-1"))
        for comparison in root.iterfind(".//x:Comparison[@parameterRef='apid']", NAMES)
    }
    assert values == {int(apid) for apid in Apid if apid not in (Apid.ACKNOWLEDGE, Apid.FILES_UP)}


def test_every_reference_leads_somewhere() -> None:
    root = Xml.fromstring(dictionary())
    types = {kind.get("name") for kind in root.findall(".//x:ParameterTypeSet/*", NAMES)}
    parameters = {one.get("name"): one.get("parameterTypeRef") for one in root.iterfind(".//x:Parameter", NAMES)}
    containers = {one.get("name") for one in root.iterfind(".//x:SequenceContainer", NAMES)}
    assert set(parameters.values()) == types
    for entry in root.iterfind(".//x:ParameterRefEntry", NAMES):
        assert entry.get("parameterRef") in parameters
    for base in root.iterfind(".//x:BaseContainer", NAMES):
        assert base.get("containerRef") in containers


def test_the_head_of_a_batch_is_described_as_it_is_packed() -> None:
    from runtime.wire.dictionary import _BATCH

    assert "".join(field.code for field in _BATCH) == HEAD


@pytest.mark.parametrize(("value", "raw"), [(0.0, 0), (1.5, 15), (1e9, 32767), (-1e9, -32768), (float("nan"), -32768)])
def test_a_field_is_capped_and_never_wraps(value: float, raw: int) -> None:
    field = Field("x", "h", "a test", scale=0.1)
    assert field.raw(value) == raw
    assert decode_fields([field], encode_fields([field], {"x": value}))["x"] == pytest.approx(raw * 0.1)


def test_other_ground_software_accepts_and_decodes(tmp_path: Path, make_product: Callable[..., Product]) -> None:
    """Against the schema of the standard, and with our own packets, by ``space_packet_parser``."""
    parser = pytest.importorskip("space_packet_parser", reason="needs space_packet_parser")
    from space_packet_parser.xtce.validation import validate_xtce

    path = tmp_path / "subsolar.xml"
    path.write_text(dictionary(), encoding="utf-8")
    verdict = validate_xtce(path, level="all")
    assert verdict.valid, str(verdict)
    definition = parser.load_xtce(path)
    raw = build(Apid.HOUSEKEEPING, 5, encode_housekeeping(STATE), time_unix_s=1_750_000_000.0)
    packet = definition.parse_bytes(raw, root_container_name="packet")
    for field in HOUSEKEEPING_FIELDS[1:]:
        assert packet[field.name] == pytest.approx(getattr(STATE, field.name), abs=1e-4)
    batch = encode_batch(9, 3, [make_product(1), make_product(2)])
    packet = definition.parse_bytes(build(Apid.PRODUCTS, 6, batch), root_container_name="packet")
    assert (packet["transfer"], packet["batch"], packet["products"]) == (9, 3, 2)
    assert bytes(packet["product_block"]) == batch[HEAD_BYTE:]
