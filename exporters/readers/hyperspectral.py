"""Hyperspectral cubes: MATLAB files of both kinds, numpy arrays, and whatever raster GDAL knows (ENVI, GeoTIFF).

MATLAB 5 to 7 files are read here (MathWorks, "MAT-File Level 5 File Format"), in either byte order. MATLAB 7.3 files
are HDF5, which GDAL reads where it was built with it.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Array = NDArray[Any]
FEWEST_BANDS = 10
"""Below this a file is a picture, not a cube."""
_CUBE_NAMES = ("data", "image", "hsi", "cube", "x")
_MOST_BYTE = 4 << 30
_HEADER_BYTE = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = frozenset(range(6, 16))


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """One scene. ``values``: (bands, rows, cols) float32, bands by wavelength, in the file's own units, all finite.

    ``anomalies``: (rows, cols) bool, None where the file has no map.
    """

    name: str
    values: NDArray[np.float32]
    anomalies: NDArray[np.bool_] | None = None


def read_cube(path: Path) -> Cube:
    """The cube in ``path`` and its map of anomalies, if it has one.

    Raises DatasetError for a MATLAB version that cannot be read, swapped bytes, NaN, or an image that is no cube.
    """
    if not path.is_file():
        raise DatasetError(f"There is no cube at {path}. Give a .mat, .npy, ENVI or GeoTIFF file.")
    if path.suffix == ".mat":
        cube, anomalies = _choose(path, read_matlab(path))
    elif path.suffix == ".npy":
        cube, anomalies = _read_numpy(path), None
    else:
        cube, anomalies = _read_raster(path), None
    return Cube(path.stem, _checked(path, cube), None if anomalies is None else np.ascontiguousarray(anomalies > 0))


def read_scenes(folder: Path) -> dict[str, Cube]:
    """All ``.mat`` cubes of ``folder`` or of its ``scenes``, by name."""
    places = [folder / "scenes", folder] if (folder / "scenes").is_dir() else [folder]
    found = [path for place in places for path in sorted(place.glob("*.mat"))]
    if not found:
        raise DatasetError(f"{folder} holds no .mat scene. Give the folder of the cubes.")
    return {path.stem: read_cube(path) for path in found}


def select_bands(values: NDArray[np.float32], bands: int, how: str = "first") -> NDArray[np.float32]:
    """(bands, rows, cols) out of any number: the ``first`` ones or ``uniform`` ones; too few are repeated in order."""
    selected: NDArray[np.float32] = values[np.asarray(band_index(len(values), bands, how))]
    return selected


def band_index(available: int, bands: int, how: str = "first") -> tuple[int, ...]:
    """Positions that ``select_bands`` takes.

    >>> band_index(3, 5), band_index(9, 3, "uniform")
    ((0, 1, 2, 0, 1), (0, 4, 8))
    """
    if how not in ("first", "uniform"):
        raise DatasetError(f"Bands cannot be selected by {how!r}. Use 'first' or 'uniform'.")
    if how == "uniform" and available >= bands:
        return tuple(int(place) for place in np.linspace(0, available - 1, bands).round())
    return tuple(place % available for place in range(bands))


def _checked(path: Path, cube: Array) -> NDArray[np.float32]:
    if cube.ndim != 3:
        raise DatasetError(f"{path} holds an array of {cube.ndim} dimensions; a cube has 3. Give rows, columns, bands.")
    if cube.shape[0] < FEWEST_BANDS:
        raise DatasetError(
            f"{path} has {cube.shape[0]} bands, a hyperspectral cube has at least {FEWEST_BANDS}. Use detection or "
            "classification for pictures of few bands."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(cube, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        raise DatasetError(
            f"{path} holds {int((~finite).sum())} values that are NaN or infinite. Drop those bands, or correct its "
            "byte order."
        )
    if _looks_swapped(cube):
        raise DatasetError(f"{path} looks as if its bytes were in another order. Correct the byte order in its header.")
    return values


def _looks_swapped(cube: Array) -> bool:
    """Whether integers would vary far less from band to band with swapped bytes, or floats have absurd sizes."""
    some = cube[:, ::4, ::4]
    if some.dtype.kind == "f":
        sizes = np.abs(some[some != 0].astype(np.float64))
        return bool(sizes.size and not 1e-20 < float(np.median(sizes)) < 1e20)
    if some.dtype.itemsize == 1:
        return False
    return _roughness(some.byteswap().astype(np.float64)) < 0.2 * _roughness(some.astype(np.float64))


def _roughness(values: NDArray[np.float64]) -> float:
    spread = float(values.std())
    return float(np.abs(np.diff(values, axis=0)).mean()) / spread if spread > 0 else 0.0


def _read_numpy(path: Path) -> Array:
    try:
        stored: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is no numpy array: {error}. Save it with numpy.save.") from error
    return np.moveaxis(stored, -1, 0) if stored.ndim == 3 else stored


def _read_raster(path: Path) -> Array:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                pixels: Array = image.read()
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Give a .mat, .npy, ENVI or GeoTIFF cube.") from error
    return pixels


def _choose(path: Path, variables: Mapping[str, Array]) -> tuple[Array, Array | None]:
    """The cube as (bands, rows, cols) and the map of its size, among a file's variables."""
    cubes = {name: array for name, array in variables.items() if array.ndim == 3}
    preferred = [name for name in cubes if name.lower() in _CUBE_NAMES]
    names = preferred if len(preferred) == 1 else list(cubes)
    if len(names) != 1:
        listed = ", ".join(f"{name} {array.shape}" for name, array in variables.items()) or "none"
        raise DatasetError(
            f"{path} holds {len(names)} cubes (variables: {listed}). Leave one array [rows, cols, bands]."
        )
    cube = cubes[names[0]]
    maps = [array for array in variables.values() if array.shape == cube.shape[:2]]
    return np.moveaxis(cube, -1, 0), maps[0] if maps else None


def read_matlab(path: Path) -> dict[str, Array]:
    """The numeric arrays of a MATLAB 5, 7 or 7.3 file by name. Raises ``DatasetError``."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTE)
    if head[:6] == b"MATLAB" and b"7.3 MAT-file" in head[:32]:
        return _read_matlab_hdf5(path)
    mark = head[126:128]
    if mark not in (b"IM", b"MI"):
        raise DatasetError(
            f"{path} is no MATLAB 5, 7 or 7.3 file (it may be version 4, or damaged). Save it again with: save -v7."
        )
    order = "<" if mark == b"IM" else ">"
    try:
        return dict(_variables(path.read_bytes()[_HEADER_BYTE:], order))
    except (struct.error, zlib.error, ValueError, KeyError, IndexError) as error:
        raise DatasetError(f"{path} is damaged: {error}. Copy it again.") from error


def _variables(content: bytes, order: str) -> Iterator[tuple[str, Array]]:
    for kind, part in _elements(content, order):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            whole = unpacker.decompress(part, _MOST_BYTE)
            if unpacker.unconsumed_tail:
                raise ValueError(f"a variable is larger than {_MOST_BYTE} bytes")
            yield from _variables(whole, order)
        elif kind == _MATRIX and (found := _matrix(part, order)) is not None:
            yield found


def _matrix(content: bytes, order: str) -> tuple[str, Array] | None:
    """Name and values of a numeric array; None for text, structures, cells and sparse arrays."""
    parts = list(_elements(content, order))
    flags = struct.unpack(order + "I", parts[0][1][:4])[0]
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & 0x0800:
        return None
    shape = np.frombuffer(parts[1][1], dtype=order + "i4")
    kind, values = parts[3]
    array = np.frombuffer(values, dtype=order + _TYPES[kind])
    return parts[2][1].decode("ascii"), array.astype(array.dtype.newbyteorder("=")).reshape(shape, order="F")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element; elements of up to four bytes hide in their own tag."""
    at = 0
    while at + 8 <= len(content):
        kind, count = struct.unpack_from(order + "II", content, at)
        if kind >> 16:
            yield kind & 0xFFFF, content[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        if at + 8 + count > len(content):
            raise ValueError(f"an element of {count} bytes goes beyond the end")
        yield kind, content[at + 8 : at + 8 + count]
        at += 8 + count + (0 if kind == _COMPRESSED else -count % 8)


def _read_matlab_hdf5(path: Path) -> dict[str, Array]:
    """Variables of a MATLAB 7.3 file. GDAL sees the axes reversed: bands, columns, rows."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    found: dict[str, Array] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                names, own = list(file.subdatasets), file.driver
            for name in names or [f'{own}:"{path}"']:
                with rasterio.open(name) as variable:
                    array = variable.read()
                turned = np.ascontiguousarray(array.transpose(2, 1, 0))
                found[name.rpartition("/")[2]] = turned[:, :, 0] if turned.shape[2] == 1 else turned
    except RasterioError as error:
        raise DatasetError(
            f"{path} is MATLAB 7.3 (HDF5), which this GDAL cannot read: {error}. Save it again with: save -v7."
        ) from error
    return found
