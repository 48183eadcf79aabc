"""Boxes, words and colours on (rows, cols, 3) uint8 pictures, with NumPy alone."""

from __future__ import annotations

import numpy as np

from ..frame import BoolArray
from ..records import FloatArray, UInt8Array

Colour = tuple[int, int, int]
# the first seven of Okabe and Ito (2008), told apart with every kind of colour vision; more for longer lists of classes
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
    (250, 250, 250),
    (150, 90, 60),
    (150, 240, 120),
    (150, 100, 220),
    (170, 170, 170),
)
GLYPH_ROWS, GLYPH_COLS = 7, 5
_GLYPHS = {  # 5 x 7 dots, a row in two hexadecimal digits
    "A": "0e11111f111111",
    "B": "1e11111e11111e",
    "C": "0e11101010110e",
    "D": "1e11111111111e",
    "E": "1f10101e10101f",
    "F": "1f10101e101010",
    "G": "0e11101711110f",
    "H": "1111111f111111",
    "I": "0e04040404040e",
    "J": "0702020202120c",
    "K": "11121418141211",
    "L": "1010101010101f",
    "M": "111b1515111111",
    "N": "11191513111111",
    "O": "0e11111111110e",
    "P": "1e11111e101010",
    "Q": "0e11111115120d",
    "R": "1e11111e141211",
    "S": "0f10100e01011e",
    "T": "1f040404040404",
    "U": "1111111111110e",
    "V": "11111111110a04",
    "W": "11111115151b11",
    "X": "11110a040a1111",
    "Y": "11110a04040404",
    "Z": "1f01020408101f",
    "0": "0e11131519110e",
    "1": "040c040404040e",
    "2": "0e11010608101f",
    "3": "1e01010e01011e",
    "4": "02060a121f0202",
    "5": "1f101e0101110e",
    "6": "0e10101e11110e",
    "7": "1f010204080808",
    "8": "0e11110e11110e",
    "9": "0e11110f01010e",
    ".": "00000000000c0c",
    ",": "000000000c0408",
    "-": "0000001f000000",
    "_": "0000000000001f",
    "+": "0004041f040400",
    "/": "01010204081010",
    "%": "18190204081303",
    ":": "000c0c000c0c00",
    "(": "02040808080402",
    ")": "08040202020408",
    " ": "00000000000000",
}
_UNKNOWN = "1f11111111111f"
# a dark-to-light ramp whose lightness grows evenly: black, violet, red, orange, pale yellow
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float32)


def words(text: str, scale: int = 2) -> BoolArray:
    """(rows, cols) dots of a line of text in capitals; what has no glyph is a box."""
    rows = np.zeros((GLYPH_ROWS, max(len(text) * (GLYPH_COLS + 1) - 1, 1)), dtype=bool)
    for number, letter in enumerate(text.upper()):
        code = bytes.fromhex(_GLYPHS.get(letter, _UNKNOWN))
        dots = np.unpackbits(np.frombuffer(code, dtype=np.uint8)[:, None], axis=1)[:, 8 - GLYPH_COLS :]
        left = number * (GLYPH_COLS + 1)
        rows[:, left : left + GLYPH_COLS] = dots
    dotted: BoolArray = np.repeat(np.repeat(rows, scale, axis=0), scale, axis=1)
    return dotted


def write_words(
    picture: UInt8Array, row_px: int, col_px: int, text: str, ground: Colour, *, ink: Colour = (0, 0, 0), scale: int = 2
) -> None:
    """Text on a filled ground, moved into the picture where it would stick out, cut off where it cannot fit."""
    dots = np.pad(words(text, scale), scale)
    height, width = picture.shape[:2]
    top, left = max(min(row_px, height - dots.shape[0]), 0), max(min(col_px, width - dots.shape[1]), 0)
    here = picture[top : top + dots.shape[0], left : left + dots.shape[1]]
    here[...] = np.where(
        dots[: here.shape[0], : here.shape[1], None], np.array(ink, dtype=np.uint8), np.array(ground, dtype=np.uint8)
    )


def outline(
    picture: UInt8Array, sides_px: tuple[float, float, float, float], colour: Colour, thick_px: int = 2
) -> None:
    """The border of a box given as left, top, right, bottom."""
    height, width = picture.shape[:2]
    left, top = max(int(sides_px[0]), 0), max(int(sides_px[1]), 0)
    right, bottom = min(max(round(sides_px[2]), left + 1), width), min(max(round(sides_px[3]), top + 1), height)
    for here in (
        picture[top : min(top + thick_px, bottom), left:right],
        picture[max(bottom - thick_px, top) : bottom, left:right],
        picture[top:bottom, left : min(left + thick_px, right)],
        picture[top:bottom, max(right - thick_px, left) : right],
    ):
        here[...] = colour


def wash(picture: UInt8Array, where: BoolArray, colour: Colour, share: float) -> None:
    """Mix ``share`` of a colour into the pixels that ``where`` marks."""
    mixed = picture[where].astype(np.float32) * (1 - share) + np.array(colour, dtype=np.float32) * share
    picture[where] = np.rint(mixed).astype(np.uint8)


def heat(values: FloatArray) -> UInt8Array:
    """(rows, cols, 3) colours of values 0..1, dark to light."""
    at = np.clip(values, 0.0, 1.0) * (len(_HEAT) - 1)
    low = np.minimum(at.astype(np.int64), len(_HEAT) - 2)
    share = (at - low)[..., None]
    colours: UInt8Array = np.rint(_HEAT[low] * (1 - share) + _HEAT[low + 1] * share).astype(np.uint8)
    return colours
