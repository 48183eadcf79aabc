"""GDAL below rasterio: what it raises when it fails, and how much memory it may keep."""

from __future__ import annotations

from functools import lru_cache

CACHE_BYTE = 64 * 2**20
"""Enough for a row of tiles of a wide scene. GDAL by itself would keep up to 5 % of the machine's memory."""


@lru_cache(maxsize=1)
def bound_cache() -> None:
    """Hold GDAL's block cache, which all files of the process share, to ``CACHE_BYTE``. Only the first call does it."""
    from rasterio._env import set_gdal_config

    set_gdal_config("GDAL_CACHEMAX", CACHE_BYTE)


def gdal_errors() -> tuple[type[Exception], ...]:
    """The exception classes to catch around any rasterio call, those of damaged headers and sizes included."""
    from rasterio._err import CPLE_BaseError  # raised by rasterio.warp.transform, exported nowhere else
    from rasterio.errors import CRSError, RasterioError

    return RasterioError, CRSError, CPLE_BaseError, OSError, UnicodeDecodeError, OverflowError, MemoryError


def one_line(error: BaseException) -> str:
    """The message of ``error``, or of what caused it, without line breaks and not too long."""
    text = " ".join(str(error.__cause__ or error).split())
    return text[:300] or type(error).__name__
