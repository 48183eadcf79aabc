"""The telemetry dictionary: our packets in XTCE 1.2 (OMG, 2018-02-04), as Yamcs and other ground software read it.

It is generated from the same tables that encode the packets. Products and file data appear as their heads and a block
of bytes: their insides have a length that depends on themselves (``runtime.wire.payload``, CCSDS 727.0-B-5).
"""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from .fields import Field
from .messages import HOUSEKEEPING_FIELDS
from .packets import CRC_BYTE, TIME_BYTE, Apid

NAMESPACE = "http://www.omg.org/spec/XTCE/20180204"
SCHEMA = "https://www.omg.org/spec/XTCE/20180204/SpaceSystem.xsd"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

_HEADER = (
    ("packet_version", 3, "always 0"),
    ("packet_type", 1, "0 telemetry, 1 telecommand"),
    ("secondary_header", 1, "1: a time code follows"),
    ("apid", 11, "application process identifier"),
    ("sequence_flags", 2, "1 first, 0 continuation, 2 last segment, 3 whole"),
    ("sequence_count", 14, "counts the packets of its APID"),
    ("packet_length", 16, "bytes after the primary header, less one"),
)
_TIME = (
    ("time_code", 8, "0x40: CCSDS day segmented, epoch 1958"),
    ("time_day", 16, "days since 1958-01-01"),
    ("time_ms", 32, "milliseconds of the day"),
)
_BATCH = (
    Field("batch_flags", "B", "version in the upper half; 1: asks for an acknowledgement"),
    Field("transfer", "Q", "store that sends (upper half) and number of its transfer"),
    Field("batch", "H", "number of the batch within it"),
    Field("capture_ms", "q", "Unix time of the first capture", unit="ms"),
    Field("strings", "H", "entries of the string table"),
    Field("products", "H", "products in the batch"),
)
_BATCH_BYTE = sum(field.bits for field in _BATCH) // 8


def dictionary(name: str = "subsolar") -> str:
    """The XTCE document."""
    root = Xml.Element("SpaceSystem", {"name": name, "xmlns": NAMESPACE, "xmlns:xsi": XSI})
    root.set("xsi:schemaLocation", f"{NAMESPACE} {SCHEMA}")
    Xml.SubElement(root, "Header", {"version": "1", "validationStatus": "Working", "date": "2026-11-24"})
    telemetry = Xml.SubElement(root, "TelemetryMetaData")
    types = Xml.SubElement(telemetry, "ParameterTypeSet")
    parameters = Xml.SubElement(telemetry, "ParameterSet")
    containers = Xml.SubElement(telemetry, "ContainerSet")

    for entry, bits, about in (*_HEADER, *_TIME):
        _integer(types, entry, bits, signed=False)
        _parameter(parameters, entry, about)
    for field in (*HOUSEKEEPING_FIELDS, *_BATCH):
        _number(types, field)
        _parameter(parameters, field.name, field.about)
    for block, fixed_byte in (("product_block", _BATCH_BYTE), ("file_block", 0), ("control_block", 0)):
        _block(types, block, fixed_byte)
        _parameter(parameters, block, "the rest of the packet, without its checksum")
    _integer(types, "checksum", 16, signed=False)
    _parameter(parameters, "checksum", "CRC-16/CCITT-FALSE over all before it")

    _container(containers, "packet", [entry for entry, _, _ in _HEADER])
    _container(containers, "telemetry", [entry for entry, _, _ in _TIME], base="packet", when=("packet_type", 0))
    for title, apid, entries in (
        ("housekeeping", Apid.HOUSEKEEPING, [field.name for field in HOUSEKEEPING_FIELDS]),
        ("products_batch", Apid.PRODUCTS, [*(field.name for field in _BATCH), "product_block"]),
        ("prompt", Apid.PROMPT, [*(field.name for field in _BATCH), "product_block"]),
        ("files", Apid.FILES, ["file_block"]),
        ("control", Apid.CONTROL, ["control_block"]),
    ):
        _container(containers, title, [*entries, "checksum"], base="telemetry", when=("apid", int(apid)))
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _integer(types: Xml.Element, name: str, bits: int, *, signed: bool) -> None:
    kind = Xml.SubElement(types, "IntegerParameterType", {"name": f"{name}_type", "signed": str(signed).lower()})
    Xml.SubElement(kind, "UnitSet")
    encoding = "twosComplement" if signed else "unsigned"
    Xml.SubElement(kind, "IntegerDataEncoding", {"sizeInBits": str(bits), "encoding": encoding})


def _number(types: Xml.Element, field: Field) -> None:
    if field.scale == 1.0:
        _integer(types, field.name, field.bits, signed=field.signed)
        kind = types[-1]
    else:
        kind = Xml.SubElement(types, "FloatParameterType", {"name": f"{field.name}_type"})
        Xml.SubElement(kind, "UnitSet")
        coding = {"sizeInBits": str(field.bits), "encoding": "twosComplement" if field.signed else "unsigned"}
        encoding = Xml.SubElement(kind, "IntegerDataEncoding", coding)
        polynomial = Xml.SubElement(Xml.SubElement(encoding, "DefaultCalibrator"), "PolynomialCalibrator")
        for exponent, coefficient in ((0, 0.0), (1, field.scale)):
            Xml.SubElement(polynomial, "Term", {"coefficient": repr(coefficient), "exponent": str(exponent)})
    if field.unit:
        Xml.SubElement(kind[0], "Unit").text = field.unit


def _block(types: Xml.Element, name: str, fixed_byte: int) -> None:
    """Bytes up to the checksum: their number follows from the packet's own length field."""
    kind = Xml.SubElement(types, "BinaryParameterType", {"name": f"{name}_type"})
    Xml.SubElement(kind, "UnitSet")
    size = Xml.SubElement(Xml.SubElement(kind, "BinaryDataEncoding"), "SizeInBits")
    dynamic = Xml.SubElement(size, "DynamicValue")
    reference = {"parameterRef": "packet_length", "useCalibratedValue": "false"}
    Xml.SubElement(dynamic, "ParameterInstanceRef", reference)
    intercept = 8 * (1 - TIME_BYTE - CRC_BYTE - fixed_byte)
    Xml.SubElement(dynamic, "LinearAdjustment", {"slope": "8", "intercept": str(intercept)})


def _parameter(parameters: Xml.Element, name: str, about: str) -> None:
    entry = {"name": name, "parameterTypeRef": f"{name}_type", "shortDescription": about}
    Xml.SubElement(parameters, "Parameter", entry)


def _container(
    containers: Xml.Element, name: str, entries: list[str], *, base: str = "", when: tuple[str, int] | None = None
) -> None:
    abstract = "true" if name in ("packet", "telemetry") else "false"
    container = Xml.SubElement(containers, "SequenceContainer", {"name": name, "abstract": abstract})
    listed = Xml.SubElement(container, "EntryList")
    for entry in entries:
        Xml.SubElement(listed, "ParameterRefEntry", {"parameterRef": entry})
    if when is not None:
        parent = Xml.SubElement(container, "BaseContainer", {"containerRef": base})
        criteria = Xml.SubElement(parent, "RestrictionCriteria")
        Xml.SubElement(criteria, "Comparison", {"parameterRef": when[0], "value": str(when[1])})
