"""Protocol data units of CFDP (CCSDS 727.0-B-5) as records; their bytes are made and read by ``spacepackets``.

The reading side guards what ``spacepackets`` 0.32 lets through: the condition code of an EOF comes unshifted, trailing
bytes are taken for content, and several kinds of exceptions leave it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from spacepackets.cfdp.conf import PduConfig
from spacepackets.cfdp.defs import (
    ChecksumType,
    ConditionCode,
    CrcFlag,
    DeliveryCode,
    Direction,
    FileStatus,
    InvalidCrcError,
    LargeFileFlag,
    PduType,
    TransmissionMode,
    UnsupportedCfdpVersionError,
)
from spacepackets.cfdp.pdu.ack import AckPdu, TransactionStatus
from spacepackets.cfdp.pdu.eof import EofPdu
from spacepackets.cfdp.pdu.file_data import FileDataParams, FileDataPdu
from spacepackets.cfdp.pdu.file_directive import DirectiveType
from spacepackets.cfdp.pdu.finished import FinishedParams, FinishedPdu
from spacepackets.cfdp.pdu.header import PduHeader
from spacepackets.cfdp.pdu.keep_alive import KeepAlivePdu
from spacepackets.cfdp.pdu.metadata import MetadataParams, MetadataPdu
from spacepackets.cfdp.pdu.nak import NakPdu
from spacepackets.cfdp.pdu.prompt import PromptPdu, ResponseRequired
from spacepackets.exceptions import BytesTooShortError
from spacepackets.util import ByteFieldGenerator

from ..wire.codec import MAX_NUMBER, MalformedError


class Condition(IntEnum):
    """Condition codes (table 5-5)."""

    NONE = 0
    ACK_LIMIT = 1
    KEEP_ALIVE_LIMIT = 2
    INVALID_MODE = 3
    FILESTORE_REJECTION = 4
    CHECKSUM_FAILURE = 5
    FILE_SIZE_ERROR = 6
    NAK_LIMIT = 7
    INACTIVITY = 8
    INVALID_STRUCTURE = 9
    CHECK_LIMIT = 10
    UNSUPPORTED_CHECKSUM = 11
    SUSPENDED = 14
    CANCELLED = 15


@dataclass(frozen=True, slots=True)
class TransactionId:
    """Who sends, and which of its transfers."""

    source: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Header:
    """What every PDU of a transaction has in common. Widths in bytes: 1, 2, 4 or 8."""

    transaction: TransactionId
    destination: int
    id_byte: int = 1
    sequence_byte: int = 4
    large: bool = False
    """Offsets of 64 bits, for files from 4 GiB on."""
    crc: bool = False
    acknowledged: bool = True
    """Class 2. False is class 1: nothing comes back, and what is lost is lost."""

    @property
    def data_overhead_byte(self) -> int:
        """What a file data PDU takes beside its data."""
        return 4 + 2 * self.id_byte + self.sequence_byte + (8 if self.large else 4) + (2 if self.crc else 0)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The file to come: its names and size."""

    size_byte: int
    source_name: str
    dest_name: str
    checksum_type: int
    closure: bool = True
    """The receiver has to say how it ended; in class 2 it does in any case."""


@dataclass(frozen=True, slots=True)
class FileData:
    """A stretch of the file."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Eof:
    """All has been sent once, or the transfer was cancelled."""

    condition: Condition
    checksum: int
    size_byte: int


@dataclass(frozen=True, slots=True)
class Nak:
    """What is missing within a scope; (0, 0) asks for the metadata."""

    start: int
    end: int
    requests: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """An EOF or a Finished has come."""

    of_eof: bool
    condition: Condition
    status: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The receiver's verdict."""

    condition: Condition
    complete: bool
    retained: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """The sender asks for a NAK or a keep-alive now."""

    keep_alive: bool


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How far the receiver has got."""

    progress: int


Pdu = Metadata | FileData | Eof | Nak | Ack | Finished | Prompt | KeepAlive
TOWARDS_SENDER = (Nak, Finished, KeepAlive)
ACTIVE, TERMINATED, UNRECOGNISED = 1, 2, 3


def encode(header: Header, pdu: Pdu) -> bytes:
    """The bytes of ``pdu``."""
    if isinstance(pdu, FileData):
        return bytes(FileDataPdu(_config(header), FileDataParams(pdu.data, pdu.offset)).pack())
    return bytes(_directive(_config(header), pdu).pack())


def decode(raw: bytes) -> tuple[Header, Pdu]:
    """The PDU in ``raw`` and its header; raises MalformedError with a reason for anything else."""
    try:
        return _decode(raw)
    except (BytesTooShortError, struct.error, IndexError) as error:
        raise MalformedError("truncated", str(error)) from error
    except InvalidCrcError as error:
        raise MalformedError("crc", str(error)) from error
    except UnsupportedCfdpVersionError as error:
        raise MalformedError("version", str(error)) from error
    except MalformedError:
        raise
    except ValueError as error:
        raise MalformedError("pdu", str(error)) from error


def _decode(raw: bytes) -> tuple[Header, Pdu]:
    common = PduHeader.unpack(raw)
    common.verify_length_and_checksum(raw)
    if common.packet_len != len(raw):
        raise MalformedError("length", f"header says {common.packet_len} bytes, {len(raw)} came")
    header = Header(
        TransactionId(common.source_entity_id.value, common.transaction_seq_num.value),
        common.dest_entity_id.value,
        common.source_entity_id.byte_len,
        common.transaction_seq_num.byte_len,
        common.file_flag == LargeFileFlag.LARGE,
        common.crc_flag == CrcFlag.WITH_CRC,
        common.transmission_mode == TransmissionMode.ACKNOWLEDGED,
    )
    if max(header.transaction.source, header.transaction.sequence, header.destination) > MAX_NUMBER:
        raise MalformedError("number", "an entity or transaction beyond 63 bits")
    if common.pdu_type == PduType.FILE_DATA:
        data = FileDataPdu.unpack(raw)
        return header, FileData(data.offset, bytes(data.file_data))
    if common.header_len >= len(raw):
        raise MalformedError("truncated", "no directive code")
    return header, _read_directive(raw, raw[common.header_len])


def _read_directive(raw: bytes, code: int) -> Pdu:
    if code == DirectiveType.METADATA_PDU:
        metadata = MetadataPdu.unpack(raw)
        names = metadata.source_file_name or "", metadata.dest_file_name or ""
        return Metadata(metadata.file_size or 0, *names, int(metadata.checksum_type), metadata.closure_requested)
    if code == DirectiveType.EOF_PDU:
        eof = EofPdu.unpack(raw)
        condition = int(eof.condition_code) >> 4  # as it comes from spacepackets 0.32
        return Eof(Condition(condition), int.from_bytes(eof.file_checksum, "big"), eof.file_size)
    if code == DirectiveType.NAK_PDU:
        nak = NakPdu.unpack(raw)
        return Nak(nak.start_of_scope, nak.end_of_scope, tuple(nak.segment_requests))
    if code == DirectiveType.ACK_PDU:
        ack = AckPdu.unpack(raw)
        if ack.directive_code_of_acked_pdu not in (DirectiveType.EOF_PDU, DirectiveType.FINISHED_PDU):
            raise MalformedError("pdu", "an acknowledgement of nothing that is acknowledged")
        of_eof = ack.directive_code_of_acked_pdu == DirectiveType.EOF_PDU
        return Ack(of_eof, Condition(int(ack.condition_code_of_acked_pdu)), int(ack.transaction_status))
    if code == DirectiveType.FINISHED_PDU:
        finished = FinishedPdu.unpack(raw)
        complete = finished.delivery_code == DeliveryCode.DATA_COMPLETE
        retained = finished.file_status == FileStatus.FILE_RETAINED
        return Finished(Condition(int(finished.condition_code)), complete, retained)
    if code == DirectiveType.PROMPT_PDU:
        return Prompt(PromptPdu.unpack(raw).response_required == ResponseRequired.KEEP_ALIVE)
    if code == DirectiveType.KEEP_ALIVE_PDU:
        return KeepAlive(KeepAlivePdu.unpack(raw).progress)
    raise MalformedError("directive", f"code {code}")


def _directive(
    config: PduConfig, pdu: Pdu
) -> MetadataPdu | EofPdu | NakPdu | AckPdu | FinishedPdu | PromptPdu | KeepAlivePdu:
    if isinstance(pdu, Metadata):
        kind = ChecksumType(pdu.checksum_type)
        return MetadataPdu(config, MetadataParams(pdu.closure, kind, pdu.size_byte, pdu.source_name, pdu.dest_name))
    if isinstance(pdu, Eof):
        return EofPdu(config, pdu.checksum, pdu.size_byte, condition_code=_code(pdu.condition))
    if isinstance(pdu, Nak):
        return NakPdu(config, pdu.start, pdu.end, list(pdu.requests))
    if isinstance(pdu, Ack):
        code = DirectiveType.EOF_PDU if pdu.of_eof else DirectiveType.FINISHED_PDU
        return AckPdu(config, code, _code(pdu.condition), TransactionStatus(pdu.status))
    if isinstance(pdu, Finished):
        delivery = DeliveryCode.DATA_COMPLETE if pdu.complete else DeliveryCode.DATA_INCOMPLETE
        status = FileStatus.FILE_RETAINED if pdu.retained else FileStatus.DISCARDED_DELIBERATELY
        return FinishedPdu(config, FinishedParams(_code(pdu.condition), delivery, status))
    if isinstance(pdu, Prompt):
        return PromptPdu(config, ResponseRequired.KEEP_ALIVE if pdu.keep_alive else ResponseRequired.NAK)
    assert isinstance(pdu, KeepAlive)
    return KeepAlivePdu(config, pdu.progress)


def _code(condition: Condition) -> ConditionCode:
    """The code as ``spacepackets`` packs it; its own list lacks number 9 of the standard."""
    return cast("ConditionCode", int(condition))


def _config(header: Header) -> PduConfig:
    return PduConfig(
        source_entity_id=ByteFieldGenerator.from_int(header.id_byte, header.transaction.source),
        dest_entity_id=ByteFieldGenerator.from_int(header.id_byte, header.destination),
        transaction_seq_num=ByteFieldGenerator.from_int(header.sequence_byte, header.transaction.sequence),
        trans_mode=TransmissionMode.ACKNOWLEDGED if header.acknowledged else TransmissionMode.UNACKNOWLEDGED,
        file_flag=LargeFileFlag.LARGE if header.large else LargeFileFlag.NORMAL,
        crc_flag=CrcFlag.WITH_CRC if header.crc else CrcFlag.NO_CRC,
        direction=Direction.TOWARDS_RECEIVER,
    )
