"""What rasterio raises when GDAL or PROJ fails: its own errors, and GDAL's, which share no base with them."""

from __future__ import annotations


def gdal_errors() -> tuple[type[Exception], ...]:
    """The exception classes to catch around any rasterio call, those of damaged headers and sizes included."""
    from rasterio._err import CPLE_BaseError  # raised by rasterio.warp.transform, exported nowhere else
    from rasterio.errors import CRSError, RasterioError

    return RasterioError, CRSError, CPLE_BaseError, OSError, UnicodeDecodeError, OverflowError, MemoryError


def one_line(error: BaseException) -> str:
    """The message of ``error``, or of what caused it, without line breaks and not too long."""
    text = " ".join(str(error.__cause__ or error).split())
    return text[:300] or type(error).__name__
