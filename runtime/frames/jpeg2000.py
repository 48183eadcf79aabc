"""A look at a JPEG 2000 header before a decoder sees it: decoders make room for all tiles that a header claims."""

from __future__ import annotations

import struct
from pathlib import Path

from ..errors import FrameError

_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of codestream and SIZ marker (ISO/IEC 15444-1, annex A)."""
_SIZ = struct.Struct(">HHIIIIIIIIH")
_SEARCH_BYTE, _TILE_PART_BYTE = 2**20, 14
_STATE_BYTE, _STATE_LIMIT_BYTE = 1200, 64 * 2**20
"""What OpenJPEG holds for each component of each tile, about; and the most it may."""


def check_jpeg2000(file: Path) -> None:
    """Refuse a header that claims more tiles than the file can hold or memory should. Raises ``FrameError``."""
    with file.open("rb") as opened:
        start = opened.read(_SEARCH_BYTE)
        size_byte = opened.seek(0, 2)
    at = start.find(_CODESTREAM)
    if at < 0 or len(start) < at + 4 + _SIZ.size:
        raise FrameError(f"{file} holds no JPEG 2000 codestream. The file is damaged or cut short: fetch it again.")
    _, _, right, bottom, _, _, tile_cols, tile_rows, first_col, first_row, bands = _SIZ.unpack_from(start, at + 4)
    if not (tile_cols and tile_rows and first_col < right and first_row < bottom):
        raise FrameError(f"{file} claims tiles of {tile_cols} x {tile_rows} px. The file is damaged: fetch it again.")
    tiles = -((first_col - right) // tile_cols) * -((first_row - bottom) // tile_rows)
    if tiles * _TILE_PART_BYTE > size_byte or tiles * bands * _STATE_BYTE > _STATE_LIMIT_BYTE:
        raise FrameError(
            f"{file} claims {tiles} tiles of {bands} bands in {size_byte} bytes. The file is damaged or made to fill "
            "memory: fetch it again, or rewrite it with larger tiles."
        )
