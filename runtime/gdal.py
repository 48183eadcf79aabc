"""GDAL below rasterio: what it raises when it fails, and how much memory it may keep."""

from __future__ import annotations

CACHE_BYTE = 16 * 2**20, 96 * 2**20
"""Least and most of GDAL's block cache. By itself it would keep up to 5 % of the machine's memory."""


def grow_cache(row_byte: int, rows: int = 512) -> None:
    """Let the block cache, which all files of the process share, hold ``rows`` rows of a file, within ``CACHE_BYTE``.

    A row of tiles is read in strips from left to right: what does not fit is decoded again for each strip.
    """
    from rasterio._env import get_gdal_config, set_gdal_config

    least, most = CACHE_BYTE
    before = int(get_gdal_config("GDAL_CACHEMAX"))
    wanted = min(max(row_byte * rows, least), most)
    if before > most or wanted > before:
        set_gdal_config("GDAL_CACHEMAX", wanted)


def gdal_errors() -> tuple[type[Exception], ...]:
    """The exception classes to catch around any rasterio call, those of damaged headers and sizes included."""
    from rasterio._err import CPLE_BaseError  # raised by rasterio.warp.transform, exported nowhere else
    from rasterio.errors import CRSError, RasterioError

    return RasterioError, CRSError, CPLE_BaseError, OSError, UnicodeDecodeError, OverflowError, MemoryError


def one_line(error: BaseException) -> str:
    """The message of ``error``, or of what caused it, without line breaks and not too long."""
    text = " ".join(str(error.__cause__ or error).split())
    return text[:300] or type(error).__name__
