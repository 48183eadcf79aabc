"""The upper rungs of the ladder: pictures of what was found, sent as files with what a pass has left over.

A product's label and outline go first. Its chip (a small picture) costs a hundred times as much and adds
a little, so chips wait in an outbox, ordered by value per byte, and the least worthy give way when it is full.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..cfdp import GROUND_ID, CfdpEntity, FileReport
from ..durable import whole
from ..errors import LinkError, StoreError
from ..faults import fault
from ..records import Product, UInt8Array

RUNGS = ("chip", "tile")
GROUND_FOLDER = "pictures"
_PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}
"""Colour type by the number of bands."""


class ChipOutbox:
    """Pictures on their way down: files in ``folder``, one for each product and rung, whatever happens in between."""

    def __init__(self, folder: Path, files: CfdpEntity, *, limit_byte: int = 32 << 20, limit_file: int = 256) -> None:
        self._folder = folder
        self._files = files
        self._limit_byte = limit_byte
        self._limit_file = limit_file
        self._sizes_byte: dict[str, int] = {}
        self._ended: set[str] = set()
        self.shed = 0
        """Pictures given up for want of room."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._adopt()
        except OSError as error:
            raise StoreError(f"Cannot use {folder}: {error}. Choose a folder that you may write to.") from error

    def offer(self, product: Product, pixels: UInt8Array, value: float, *, rung: str = "chip") -> None:
        """Queue a picture of ``product``. ``pixels``: (bands, rows, columns), 1 to 4 bands, uint8; see ``png``.

        ``value`` is what the picture adds to the product. Offering the same again changes nothing. Raises StoreError.
        """
        name = picture_name(product.product_id, rung)
        if name not in self._sizes_byte:
            self.offer_file(name, png(pixels), value)

    def offer_file(self, name: str, content: bytes, value: float) -> None:
        """Queue what is a picture already, or the values behind one, as ``.png`` or ``.tif``; see ``offer``."""
        path = self._folder / name
        if name in self._sizes_byte:
            return
        self._ended.discard(name)
        try:
            with whole(path, lambda: fault("pictures.keep.before_rename")) as file:
                file.write(content)
            fault("pictures.keep.after_rename")
        except OSError as error:
            self._give_up(name)  # it may have its name already, where only the folder could not be made durable
            raise StoreError(f"Cannot write {path}: {error}. Free space, or choose another folder.") from error
        self._sizes_byte[name] = len(content)
        try:
            self._files.send(path, f"{GROUND_FOLDER}/{name}", GROUND_ID, value=value)
        except (StoreError, LinkError):
            self._give_up(name)
            raise
        self._shed()

    def settle(self, reports: Iterable[FileReport]) -> None:
        """Remove the pictures whose transfers have ended, well or not; one that cannot go now goes the next time.

        Raises StoreError.
        """
        self._ended |= {Path(report.name).name for report in reports if not report.received}
        for name in sorted(self._ended):
            self._remove(name)

    @property
    def waiting_file(self) -> int:
        """How many pictures wait."""
        return len(self._sizes_byte)

    @property
    def waiting_byte(self) -> int:
        """What waits in the outbox."""
        return sum(self._sizes_byte.values())

    def _adopt(self) -> None:
        """Send what a crash has left without a transfer, and remove what it has left of one that had ended."""
        known = {Path(transfer.path).name for transfer in self._files.outgoing()}
        ended = {Path(path).name for path in self._files.ended()} - known
        for path in sorted([*self._folder.glob("*.png"), *self._folder.glob("*.tif")]):
            self._sizes_byte[path.name] = path.stat().st_size
            if path.name in ended:
                self._remove(path.name)
            elif path.name not in known:
                self._files.send(path, f"{GROUND_FOLDER}/{path.name}", GROUND_ID)
        for part in self._folder.glob("*.part"):
            part.unlink()

    def _shed(self) -> None:
        if self._has_room():
            return
        for transfer in sorted(self._files.outgoing(), key=lambda one: (one.rank, -one.sequence)):
            name = Path(transfer.path).name
            if self._has_room():
                break
            if name in self._sizes_byte:
                self._files.drop(transfer.sequence)
                self._remove(name)
                self.shed += 1

    def _give_up(self, name: str) -> None:
        """Remove a picture that no transfer carries; one that cannot go now goes with the next that have ended."""
        self._ended.add(name)
        with suppress(StoreError):
            self._remove(name)

    def _has_room(self) -> bool:
        return self.waiting_byte <= self._limit_byte and len(self._sizes_byte) <= self._limit_file

    def _remove(self, name: str) -> None:
        path = self._folder / name
        try:
            fault("pictures.settle.before_unlink")
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot remove {path}: {error}. Check the folder's owner and its disk.") from error
        self._sizes_byte.pop(name, None)
        self._ended.discard(name)


def picture_name(product_id: str, rung: str) -> str:
    """The file name of a product's picture; ids that are no plain names are made into one.

    >>> picture_name("00ab12", "chip")
    '00ab12-chip.png'
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", product_id)[:80]
    return f"{plain}-{rung}.png"


def values_name(product_id: str) -> str:
    """The file name of the values behind a product's picture.

    >>> values_name("00ab12")
    '00ab12-values.tif'
    """
    return picture_name(product_id, "values").removesuffix(".png") + ".tif"


def png(pixels: UInt8Array) -> bytes:
    """An 8-bit PNG (ISO/IEC 15948) of (bands, rows, columns); one band is grey, three are red, green and blue.

    With one more, that is the opacity.
    """
    bands, rows, columns = pixels.shape
    if bands not in _PNG_COLOUR:
        raise StoreError(f"A picture of {bands} bands cannot be written. Give 1 to 4 of them.")
    lines = np.zeros((rows, 1 + columns * bands), np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = np.moveaxis(pixels, 0, -1).reshape(rows, -1)
    head = struct.pack(">IIBBBBB", columns, rows, 8, _PNG_COLOUR[bands], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
