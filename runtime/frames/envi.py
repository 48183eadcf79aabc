"""ENVI images: raw samples in one file, and ``NAME.hdr`` beside it in words. GDAL reads them; here they are found."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..errors import FrameError

SUFFIX = ".hdr"
_DATA_SUFFIXES = ("", ".img", ".dat", ".raw", ".bil", ".bip", ".bsq", ".cube")
_HEADER_LIMIT_BYTE = 4 * 2**20
_SAMPLE_BYTE = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 9: 16, 12: 2, 13: 4, 14: 8, 15: 8}
"""Bytes of a sample by the header's ``data type``."""


def is_envi_header(path: Path) -> bool:
    """Whether the file is the header of an ENVI image."""
    try:
        with path.open("rb") as opened:
            return path.suffix.lower() == SUFFIX and opened.read(4) == b"ENVI"
    except OSError:
        return False


def envi_data(path: Path) -> Path | None:
    """The file with the samples of the ENVI image that ``path`` (its header, or the samples) belongs to, else None.

    Raises ``FrameError`` where the samples are missing, or fewer than the header says.
    """
    header = path if is_envi_header(path) else _header_of(path)
    if header is None:
        return None
    data = path if header != path else _samples_of(header)
    if data is None:
        raise FrameError(
            f"{header} is an ENVI header without its samples. Put {header.stem} or {header.stem}.img beside it."
        )
    _check_length(header, data)
    return data


def _header_of(path: Path) -> Path | None:
    if path.suffix.lower() not in _DATA_SUFFIXES:
        return None
    beside = [path.with_name(path.name + SUFFIX), path.with_suffix(SUFFIX)]
    return next((header for header in beside if path.is_file() and is_envi_header(header)), None)


def _samples_of(header: Path) -> Path | None:
    plain = header.with_suffix("")
    beside = [plain.with_name(plain.name + suffix) for suffix in _DATA_SUFFIXES]
    return next((path for path in beside if path.is_file()), None)


def _check_length(header: Path, data: Path) -> None:
    """GDAL takes samples that are not there for zeros."""
    try:
        with header.open("rb") as opened:
            text = opened.read(_HEADER_LIMIT_BYTE).decode("latin-1")
        length = data.stat().st_size
    except OSError as error:
        raise FrameError(f"{header} cannot be read: {error.strerror}. Check the path.") from error
    found = {name: int(number) for name, number in re.findall(r"(?mi)^\s*([a-z ]+?)\s*=\s*([0-9]{1,18})\s*$", text)}
    missing = [name for name in ("samples", "lines", "bands", "data type") if name not in found]
    if missing or found["data type"] not in _SAMPLE_BYTE:
        raise FrameError(
            f"{header} does not say {', '.join(missing) or 'a known data type'}. Write the header again with the "
            "program that made the image."
        )
    counts = found["samples"], found["lines"], found["bands"]
    needed = found.get("header offset", 0) + math.prod(counts) * _SAMPLE_BYTE[found["data type"]]
    if needed > length or min(counts) < 1:
        raise FrameError(
            f"{header} speaks of {counts[1]} lines of {counts[0]} px and {counts[2]} bands, {needed} bytes, but "
            f"{data.name} has {length}. The file is cut short, or the header is another's: fetch both again."
        )
