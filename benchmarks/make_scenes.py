"""Makes the sample scenes in ``deploy/scenes`` from the research data sets: same data, same bytes of pixels.

``eurosat-test.tif`` is a mosaic of the 600 EuroSAT test chips, which no shipped network was trained on, with the class
of each in ``eurosat-test.json``. ``naip-2020-north-dakota.tif`` is a real scene without labels, its bands named.
``aerial/kit-ais-mos74.png`` is a real aerial picture as it came, with the vehicles that people marked in it.

Run: ``python benchmarks/make_scenes.py [DATA [OUT]]``; DATA defaults to $SUBSOLAR_DATA.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

REPO = Path(__file__).resolve().parents[1]
CHIP_PX, GSD_M = 64, 10.0
BLOCK_ROWS, BLOCK_COLS = 10, 6  # chips of one class; five blocks side by side, two on top of each other
BLOCKS_ACROSS = 5
CRS = "EPSG:32631"
EAST_M, NORTH_M = 490_400.0, 5_006_400.0  # centred on 3 degrees east, near 45 degrees north: chosen, not true
DATA_TERMS = (
    "EuroSAT (MIT), Helber et al. 2019; contains modified Copernicus Sentinel data; "
    "pixels of the chips unchanged, put side by side"
)

AERIAL, AERIAL_SPLIT = "MOS74", "test"
AERIAL_TERMS = (
    'picture: "KIT AIS Data Set", Karlsruhe Institute of Technology, CC BY 3.0, unchanged; boxes: "Dataset for '
    'training of YOLO with aerial photo car detection", Yauhen Kharuzhy, in pixels instead of fractions'
)


def make_eurosat(data: Path, out: Path) -> None:
    """Write the mosaic and its labels."""
    root = data / "eurosat-rgb-subset"
    classes = (root / "classes.txt").read_text(encoding="utf-8").split()
    names = sorted((root / "test.txt").read_text(encoding="utf-8").split())
    height, width = 2 * BLOCK_ROWS * CHIP_PX, BLOCKS_ACROSS * BLOCK_COLS * CHIP_PX
    mosaic = np.zeros((3, height, width), dtype=np.uint8)
    tiles = []
    for number, class_name in enumerate(classes):
        chips = [name for name in names if Path(name).parent.name == class_name]
        if len(chips) != BLOCK_ROWS * BLOCK_COLS:
            raise SystemExit(f"{class_name} has {len(chips)} test chips, {BLOCK_ROWS * BLOCK_COLS} are needed.")
        for index, name in enumerate(chips):
            row_px, col_px = _place(number, index)
            mosaic[:, row_px : row_px + CHIP_PX, col_px : col_px + CHIP_PX] = _read(root / name)
            tiles.append({"row_px": row_px, "col_px": col_px, "class": class_name, "source": name})
    profile = {"transform": from_origin(EAST_M, NORTH_M, GSD_M, GSD_M), "crs": CRS, "blocksize": CHIP_PX}
    tags = {
        "SUBSOLAR_PLACE": "synthetic: the chips lie elsewhere in Europe, unknown where",
        "TIFFTAG_COPYRIGHT": DATA_TERMS,
    }
    _write(out / "eurosat-test.tif", mosaic, ("red", "green", "blue"), tags, **profile)
    labels = {"schema": 1, "tile_edge_px": CHIP_PX, "place": "synthetic", "licence": DATA_TERMS, "classes": classes}
    lines = ",\n".join("  " + json.dumps(tile) for tile in tiles)
    text = json.dumps(labels, indent=1)[:-2] + ',\n "tiles": [\n' + lines + "\n ]\n}\n"
    (out / "eurosat-test.json").write_text(text, encoding="utf-8")


def make_naip(data: Path, out: Path) -> None:
    """Write the NAIP scene anew with its bands named; pixels, place and nodata are those of the source."""
    with rasterio.open(data / "scenes-geotiff" / "naip_2020_rgbn_5m.tif") as source:
        profile = {"transform": source.transform, "crs": source.crs, "blocksize": 256, "nodata": source.nodata}
        tags = {"TIFFTAG_COPYRIGHT": "NAIP 2020, USDA Farm Production and Conservation, public domain"}
        names = ("red", "green", "blue", "nir")
        _write(out / "naip-2020-north-dakota.tif", source.read(), names, tags, **profile)


def make_aerial(data: Path, out: Path) -> None:
    """Copy one test picture of the aerial cars byte by byte, and write its boxes in pixels."""
    root = data / "aerial-cars"
    name = f"kit-ais-{AERIAL.lower()}.png"
    (out / "aerial").mkdir(exist_ok=True)
    shutil.copyfile(root / "images" / f"{AERIAL}.png", out / "aerial" / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(out / "aerial" / name) as picture:
            size = np.array([picture.width, picture.height])
    classes = (root / "classes.txt").read_text(encoding="utf-8").split()
    boxes = []
    for line in (root / "labels" / f"{AERIAL}.txt").read_text(encoding="utf-8").splitlines():
        kind, *fractions = line.split()
        middle, sides = (np.array(part, dtype=float) * size for part in (fractions[:2], fractions[2:]))
        corners = np.concatenate([middle - sides / 2, middle + sides / 2]).round(1).tolist()
        boxes.append({"left_top_right_bottom_px": corners, "class": classes[int(kind)]})
    head = {"schema": 1, "picture": name, "source": f"{AERIAL}.png", "split": AERIAL_SPLIT, "licence": AERIAL_TERMS}
    lines = ",\n".join("  " + json.dumps(box) for box in boxes)
    text = json.dumps(head, indent=1)[:-2] + ',\n "boxes": [\n' + lines + "\n ]\n}\n"
    (out / "aerial" / name).with_suffix(".boxes.json").write_text(text, encoding="utf-8")


def _place(class_number: int, index: int) -> tuple[int, int]:
    block_row, block_col = divmod(class_number, BLOCKS_ACROSS)
    row, col = divmod(index, BLOCK_COLS)
    return (block_row * BLOCK_ROWS + row) * CHIP_PX, (block_col * BLOCK_COLS + col) * CHIP_PX


def _read(path: Path) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            chip: NDArray[np.uint8] = image.read()
    if chip.shape != (3, CHIP_PX, CHIP_PX) or chip.dtype != np.uint8:
        raise SystemExit(f"{path} is {chip.dtype} {chip.shape}, not three bands of {CHIP_PX} px.")
    return chip


def _write(
    path: Path,
    pixels: NDArray[np.uint8],
    names: tuple[str, ...],
    tags: dict[str, str],
    *,
    blocksize: int,
    **profile: Any,
) -> None:
    """Lossless, internally tiled GeoTIFF with named bands."""
    count, height, width = pixels.shape
    layout = {"tiled": True, "blockxsize": blocksize, "blockysize": blocksize, "interleave": "pixel"}
    packing = {"compress": "deflate", "predictor": 2, "zlevel": 9, "photometric": "rgb", "alpha": "no"}
    shape = {"driver": "GTiff", "dtype": "uint8", "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", **shape, **layout, **packing, **profile) as target:
        target.update_tags(**tags)
        target.descriptions = names
        target.write(pixels)


def main() -> None:
    """Make all scenes and say how large they are."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SUBSOLAR_DATA", REPO.parent / "shared" / "data"))
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else REPO / "deploy" / "scenes"
    out.mkdir(parents=True, exist_ok=True)
    make_eurosat(data, out)
    make_naip(data, out)
    make_aerial(data, out)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        print(f"{path.relative_to(out)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
