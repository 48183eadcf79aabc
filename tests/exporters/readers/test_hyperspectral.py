"""Cubes are read from both kinds of MATLAB file in either byte order; what is no cube is refused in clear words."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.errors import DatasetError
from exporters.readers.hyperspectral import band_index, read_cube, read_scenes, select_bands

CODES = {"float64": (9, 6), "float32": (7, 7), "uint16": (4, 11), "uint8": (2, 9)}


def element(order: str, kind: int, content: bytes) -> bytes:
    return struct.pack(order + "II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def variable(order: str, name: str, array: NDArray[np.generic]) -> bytes:
    code, array_class = CODES[array.dtype.name]
    body = element(order, 6, struct.pack(order + "II", array_class, 0))
    body += element(order, 5, np.array(array.shape, dtype=order + "i4").tobytes())
    body += element(order, 1, name.encode())
    body += element(order, code, array.astype(array.dtype.newbyteorder(order)).tobytes(order="F"))
    return element(order, 14, body)


def write_mat(path: Path, variables: dict[str, NDArray[np.generic]], *, order: str = "<", packed: bool = False) -> Path:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "HH", 0x0100, 0x4D49)
    parts = [variable(order, name, array) for name, array in variables.items()]
    if packed:
        squeezed = [zlib.compress(part) for part in parts]
        parts = [struct.pack(order + "II", 15, len(part)) + part for part in squeezed]
    path.write_bytes(head + b"".join(parts))
    return path


def smooth_cube(dtype: str = "float64") -> NDArray[np.generic]:
    rows, cols, bands = np.meshgrid(np.arange(6), np.arange(5), np.arange(12), indexing="ij")
    return (1000 + 137 * rows + 11 * cols + 53 * bands).astype(dtype)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "uint16"])
def test_either_byte_order_plain_or_packed_gives_the_same_cube(
    tmp_path: Path, order: str, packed: bool, dtype: str
) -> None:
    cube, truth = smooth_cube(dtype), np.zeros((6, 5), dtype=np.uint8)
    truth[2, 3] = 1
    scene = read_cube(write_mat(tmp_path / "scene.mat", {"data": cube, "map": truth}, order=order, packed=packed))
    np.testing.assert_array_equal(scene.values, np.moveaxis(cube, -1, 0).astype(np.float32))
    assert scene.anomalies is not None
    assert np.argwhere(scene.anomalies).tolist() == [[2, 3]]


def test_a_file_without_a_map_has_no_anomalies(tmp_path: Path) -> None:
    assert read_cube(write_mat(tmp_path / "scene.mat", {"data": smooth_cube()})).anomalies is None


def test_other_matlab_versions_are_refused_in_clear_words(tmp_path: Path) -> None:
    old = tmp_path / "v4.mat"
    old.write_bytes(struct.pack("<5i", 0, 6, 5, 0, 5) + b"data\0" + bytes(240))
    with pytest.raises(DatasetError, match="save -v7"):
        read_cube(old)
    new = tmp_path / "v73.mat"
    new.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0") + b"no HDF5 at all" * 40)
    with pytest.raises(DatasetError, match=r"7\.3 \(HDF5\).*save -v7"):
        read_cube(new)


def test_a_cut_file_is_damaged(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "scene.mat", {"data": smooth_cube()})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DatasetError, match="damaged"):
        read_cube(path)


def test_swapped_bytes_are_noticed(tmp_path: Path) -> None:
    for dtype in ("uint16", "float32"):
        np.save(tmp_path / "swapped.npy", smooth_cube(dtype).byteswap())
        with pytest.raises(DatasetError, match="order"):
            read_cube(tmp_path / "swapped.npy")
        np.save(tmp_path / "right.npy", smooth_cube(dtype).byteswap().view(np.dtype(dtype).newbyteorder()))
        np.testing.assert_array_equal(read_cube(tmp_path / "right.npy").values[0], smooth_cube()[:, :, 0])


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"data": np.zeros((6, 5, 3))}, "3 bands"),
        ({"data": np.full((6, 5, 12), np.nan)}, "NaN"),
        ({"map": np.zeros((6, 5))}, "0 cubes"),
        ({"a": np.zeros((6, 5, 12)), "b": np.zeros((6, 5, 12))}, "2 cubes"),
    ],
)
def test_what_is_no_cube_is_refused(tmp_path: Path, variables: dict[str, NDArray[np.generic]], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read_cube(write_mat(tmp_path / "scene.mat", variables))


def test_missing_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no cube at"):
        read_cube(tmp_path / "none.mat")
    with pytest.raises(DatasetError, match=r"no \.mat scene"):
        read_scenes(tmp_path)


def test_an_envi_cube_is_read_by_gdal(tmp_path: Path) -> None:
    cube = np.moveaxis(smooth_cube("uint16"), -1, 0)
    (tmp_path / "cube.img").write_bytes(cube.astype(">u2").tobytes())
    head = "ENVI\nsamples = 5\nlines = 6\nbands = 12\nheader offset = 0\ndata type = 12\ninterleave = bsq\n"
    (tmp_path / "cube.hdr").write_text(head + "byte order = 1\n")
    np.testing.assert_array_equal(read_cube(tmp_path / "cube.img").values, cube.astype(np.float32))
    (tmp_path / "cube.hdr").write_text(head + "byte order = 0\n")
    with pytest.raises(DatasetError, match="order"):
        read_cube(tmp_path / "cube.img")


def test_bands_are_taken_from_the_front_evenly_or_again() -> None:
    assert band_index(60, 50) == tuple(range(50))
    assert band_index(100, 3, "uniform") == (0, 50, 99)
    assert select_bands(np.zeros((20, 2, 2), dtype=np.float32), 50).shape == (50, 2, 2)
    with pytest.raises(DatasetError, match="'first' or 'uniform'"):
        band_index(60, 50, "best")


def test_the_real_scenes_have_the_stated_sizes_and_anomalies(data_dir: Path) -> None:
    folder = data_dir / "had-hyperspectral-anomaly"
    if not folder.is_dir():
        pytest.skip("needs DATA: had-hyperspectral-anomaly")
    stated = {"sandiego": ((189, 100, 100), 58), "hydice1": ((162, 80, 100), 17), "muufl": ((64, 100, 100), 269)}
    for name, (shape, many) in stated.items():
        scene = read_cube(folder / f"{name}.mat")
        assert scene.anomalies is not None
        assert (scene.values.shape, int(scene.anomalies.sum())) == (shape, many)
