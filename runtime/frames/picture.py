"""A small picture of a scene for reports."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..errors import FrameError


def thumbnail_jpeg(path: Path, edge_px: int, bands: tuple[int, int, int] = (1, 2, 3)) -> bytes:
    """Return the scene as a JPEG whose longer side has at most ``edge_px``; decimated while reading. ``bands`` from 1.

    Raises ``FrameError`` where the file cannot be read or is not 8-bit.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import MemoryFile

    try:
        with rasterio.open(path) as scene:
            if scene.dtypes[0] != "uint8":
                raise FrameError(f"{path} holds {scene.dtypes[0]}; a picture needs 8 bits. Scale it first.")
            shrink = min(1.0, edge_px / max(scene.width, scene.height))
            shape = max(1, round(scene.height * shrink)), max(1, round(scene.width * shrink))
            wanted = [band if band <= scene.count else 1 for band in bands]
            pixels = scene.read(wanted, out_shape=(3, *shape))
        with MemoryFile() as memory, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture needs no place
            with memory.open(driver="JPEG", height=shape[0], width=shape[1], count=3, dtype="uint8", quality=80) as out:
                out.write(pixels)
            return bytes(memory.read())
    except RasterioError as error:
        raise FrameError(f"No picture can be made of {path}: {error}. Check the file.") from error
