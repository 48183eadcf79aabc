"""Pictures with landslide masks in both layouts, with black as no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.readers.landslide import Slope, read_slopes, shrunk


def write_png(path: Path, pixels: np.ndarray) -> None:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, cols = pixels.shape
    with rasterio.open(path, "w", driver="PNG", width=cols, height=rows, count=bands, dtype="uint8") as image:
        image.write(pixels)


def picture(rows: int = 8, cols: int = 10) -> np.ndarray:
    pixels = np.full((3, rows, cols), 90, dtype=np.uint8)
    pixels[:, :2, :2] = 0
    return pixels


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_both_layouts_are_read(tmp_path: Path) -> None:
    mask = np.zeros((3, 8, 10), dtype=np.uint8)
    mask[:2, 4:] = 255  # yellow
    for image, truth in (("images/a.png", "masks/a.png"), ("val/image/a.png", "val/mask/a.png")):
        write_png(tmp_path / image, picture())
        write_png(tmp_path / truth, mask)
    (tmp_path / "train.txt").write_text("a.png\n")
    for split in ("train", "val"):
        (slope,) = read_slopes(tmp_path, split)
        assert slope.moving.sum() == 40
        assert (~slope.valid).sum() == 4
    with pytest.raises(DatasetError, match=r"neither test\.txt"):
        read_slopes(tmp_path, "test")
    write_png(tmp_path / "masks/a.png", mask[:, :6])
    with pytest.raises(DatasetError, match="differ in size"):
        read_slopes(tmp_path, "train")
    (tmp_path / "train.txt").write_text("b.png\n")
    with pytest.raises(DatasetError, match=r"b\.png is missing: a picture"):
        read_slopes(tmp_path, "train")


def test_a_shrunk_picture_keeps_what_at_least_half_of_its_pixels_are() -> None:
    moving = np.zeros((5, 4), dtype=bool)
    moving[0, :3] = moving[1, 0] = True
    small = shrunk(Slope("a", np.full((3, 5, 4), 7, dtype=np.uint8), moving, ~moving), 2)
    assert small.pixels.shape == (3, 2, 2)
    assert small.moving.tolist() == [[True, False], [False, False]]
    assert small.valid.tolist() == [[False, True], [True, True]]
