from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.readers.coco import read_coco
from exporters.readers.detection_formats import read_detections
from exporters.readers.dota import read_dota
from exporters.readers.sar_ship import read_sar_ship
from exporters.readers.uavdt import read_uavdt
from exporters.readers.visdrone import read_visdrone
from exporters.readers.xview import read_xview
from exporters.readers.yolo import read_yolo

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

COUNTS = {
    "ssdd-sar-ships": ((344, 747), (116, 252)),
    "gdit-aerial-airport": ((120, 1584), (68, 979)),
    "aerial-cars": ((16, 401), (14, 357)),
    "au-air-uav-subset": ((50, 171), (20, 114)),
}


def picture(path: Path, *, rows: int = 80, columns: int = 100, bands: int = 3) -> Path:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="PNG", height=rows, width=columns, count=bands, dtype="uint8") as out:
        out.write(np.full((bands, rows, columns), 7, np.uint8))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def yolo(tmp_path: Path) -> Callable[[str], Path]:
    """A YOLO set of one picture of 100 x 80 px with the given labels."""

    def make(labels: str, bands: int = 3) -> Path:
        picture(tmp_path / "images/train/a.png", bands=bands)
        text(tmp_path / "labels/train/a.txt", labels)
        text(tmp_path / "classes.txt", "ship\nplane\n")
        return tmp_path

    return make


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_the_real_sets_are_read_whole(name: str, data_dir: Path) -> None:
    if not (data_dir / name).is_dir():
        pytest.skip(f"needs DATA: {name}")
    for split, (images, boxes) in zip(("train", "test"), COUNTS[name], strict=True):
        found = read_detections(data_dir / name, split)
        assert (len(found), found.count) == (images, boxes)
    first = found.pixels(0)
    assert first.dtype == np.uint8
    assert first.shape[0] == 3
    assert all((b[:, 2:] <= found.pixels(i).shape[:0:-1]).all() for i, b in enumerate(found.boxes[:4]))


def test_fractions_become_pixels(yolo: Callable[[str], Path]) -> None:
    found = read_yolo(yolo("0 0.5 0.5 0.2 0.5\n1 0.05 0.05 0.2 0.2\n"), "train")
    assert found.boxes[0].tolist() == [[40.0, 20.0, 60.0, 60.0], [0.0, 0.0, 15.0, 12.0]]
    assert (found.labels[0].tolist(), found.classes) == ([0, 1], ("ship", "plane"))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("0 1.5 0.5 0.1 0.1", "lies outside the picture of 100 x 80 px"),
        ("0 0.5 0.5 0 0.1", "is empty"),
        ("2 0.5 0.5 0.1 0.1", "has class 2, but 2 classes are listed"),
        ("0.5 0.5 0.5 0.1 0.1", "has class -1"),
        ("0 0.5 nan 0.1 0.1", "is not a number"),
        ("0 0.5 0.5 0.1", "has 4 of 5 numbers"),
        ("ship 0.5 0.5 0.1 0.1", "needs 5 numbers: .*'ship'"),
        ("", "has 1 pictures and not one box"),
    ],
)
def test_labels_that_cannot_be_true_are_refused_by_file_and_box(
    labels: str, words: str, yolo: Callable[[str], Path]
) -> None:
    root = yolo(labels)
    with pytest.raises(DatasetError, match=words):
        read_yolo(root, "train")


def test_lenient_reading_drops_what_strict_reading_refuses(
    yolo: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    found = read_yolo(yolo("0 1.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1\n"), "train", lenient=True)
    assert found.count == 1
    assert "2 boxes" in caplog.text


def test_half_a_download_is_noticed(yolo: Callable[[str], Path]) -> None:
    root = yolo("0 0.5 0.5 0.1 0.1")
    text(root / "val.txt", "images/train/a.png\nimages/train/b.png\n")
    text(root / "labels/train/b.txt", "")
    with pytest.raises(DatasetError, match=r"lists 2 pictures, of which 1 are missing, the first .*b\.png"):
        read_yolo(root, "val")
    picture(root / "images/train/b.png")
    assert len(read_yolo(root, "val")) == 2
    (root / "labels/train/b.txt").unlink()
    with pytest.raises(DatasetError, match=r"b\.png has no label file"):
        read_yolo(root, "val")
    with pytest.raises(DatasetError, match=r"neither test\.txt nor images/test"):
        read_yolo(root, "test")
    (root / "images/train/a.png").write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"a\.png cannot be decoded"):
        read_yolo(root, "train")


def test_a_grey_picture_is_refused_unless_asked_for(yolo: Callable[..., Path]) -> None:
    root = yolo("0 0.5 0.5 0.1 0.1", bands=1)
    with pytest.raises(DatasetError, match="is grey, three bands are expected"):
        read_yolo(root, "train").pixels(0)
    assert read_yolo(root, "train", grey_as_rgb=True).loaded().pixels(0).shape == (3, 80, 100)


def coco_file(path: Path, name: str = "a.png", category: int = 3) -> Path:
    boxes = [
        {"id": 1, "image_id": 5, "category_id": category, "bbox": [10, 20, 30, 40], "iscrowd": 0},
        {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ]
    stored = {
        "images": [{"id": 5, "file_name": name, "height": 80, "width": 100}],
        "annotations": boxes,
        "categories": [{"id": 3, "name": "ship"}],
    }
    return text(path, json.dumps(stored))


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/train2017.json", "JPEGImages"),  # HRSID
        ("annotations/train.json", "images/train"),  # SSDD's official release
        ("train/train_coco.json", "train/hazy_images"),  # HazyDet
    ],
)
def test_coco_layouts_are_found(annotations: str, images: str, tmp_path: Path) -> None:
    coco_file(tmp_path / annotations)
    picture(tmp_path / images / "a.png")
    found = read_detections(tmp_path, "train")
    assert found.boxes[0].tolist() == [[10.0, 20.0, 40.0, 60.0]]
    assert found.ignored[0].tolist() == [[0.0, 0.0, 9.0, 9.0]]
    assert found.classes == ("ship",)


def test_broken_coco_is_refused(tmp_path: Path) -> None:
    path = coco_file(tmp_path / "annotations/train.json", category=4)
    with pytest.raises(DatasetError, match="holds none of the 1 pictures"):
        read_coco(tmp_path, "train")
    picture(tmp_path / "images/train/a.png")
    with pytest.raises(DatasetError, match=r"category 4, which is none of \[3\]"):
        read_coco(tmp_path, "train")
    text(path, path.read_text()[:40])
    with pytest.raises(DatasetError, match="cut short"):
        read_coco(tmp_path, "train")
    text(path, "{}")
    with pytest.raises(DatasetError, match=r"not in COCO form: KeyError\('categories'\)"):
        read_coco(tmp_path, "train")


def test_an_oriented_box_becomes_the_upright_one_around_it(tmp_path: Path) -> None:
    picture(tmp_path / "train/images/P0001.png")
    lines = "imagesource:GoogleEarth\ngsd:0.5\n20 10 40 30 20 50 0 30 ship 0\n50 10 60 10 60 20 50 20 plane 1\n"
    text(tmp_path / "train/labelTxt/P0001.txt", lines)
    found = read_dota(tmp_path, "train")
    assert found.boxes[0].tolist() == [[0.0, 10.0, 40.0, 50.0], [50.0, 10.0, 60.0, 20.0]]
    assert [found.classes[k] for k in found.labels[0]] == ["ship", "plane"]
    assert read_dota(tmp_path, "train", difficult=False).ignored[0].shape == (1, 4)
    with pytest.raises(DatasetError, match="class 'ship', which is none of"):
        read_dota(tmp_path, "train", classes=("plane",))


def test_visdrone_leaves_out_what_its_benchmark_leaves_out(tmp_path: Path) -> None:
    base = tmp_path / "VisDrone2019-DET-train"
    picture(base / "images/a.png")
    text(base / "annotations/a.txt", "1,2,10,20,1,4,0,0\n0,0,5,5,0,0,0,0\n9,9,4,4,1,11,0,0\n3,3,4,4,1,1,0,1,\n")
    found = read_visdrone(tmp_path, "train")
    assert [found.classes[k] for k in found.labels[0]] == ["car", "pedestrian"]
    assert found.boxes[0][0].tolist() == [1.0, 2.0, 11.0, 22.0]
    assert found.ignored[0].tolist() == [[0.0, 0.0, 5.0, 5.0]]


def test_uavdt_labels_belong_to_their_frames(tmp_path: Path) -> None:
    for number in (1, 2):
        picture(tmp_path / f"UAV-benchmark-M/M0101/img00000{number}.png")
    gt = tmp_path / "UAV-benchmark-MOTD_v1.0/GT"
    text(gt / "M0101_gt_whole.txt", "1,1,10,20,30,40,1,1,1\n2,1,12,20,30,40,1,1,3\n")
    text(gt / "M0101_gt_ignore.txt", "2,1,0,0,5,6,-1,-1,-1\n")
    text(tmp_path / "M_attr/train/M0101_attr.txt", "1,0,0\n")
    found = read_detections(tmp_path, "train")
    assert [b.tolist() for b in found.boxes] == [[[10, 20, 40, 60]], [[12, 20, 42, 60]]]
    assert [found.classes[k[0]] for k in found.labels] == ["car", "bus"]
    assert found.ignored[1].tolist() == [[0.0, 0.0, 5.0, 6.0]]
    assert len(read_uavdt(tmp_path, "all", every=2)) == 1
    with pytest.raises(DatasetError, match="names no sequences"):
        read_uavdt(tmp_path, "test")


def test_xview_is_read_from_its_geojson(tmp_path: Path) -> None:
    picture(tmp_path / "train_images/5.tif")

    def feature(bounds: str, kind: int) -> dict[str, object]:
        return {"properties": {"bounds_imcoords": bounds, "image_id": "5.tif", "type_id": kind}}

    features = [feature("10,20,30,40", 73), feature("200,20,300,40", 18), feature("1,1,2,2", 75)]
    source = text(tmp_path / "xView_train.geojson", json.dumps({"features": features}))
    found = read_xview(tmp_path)
    assert ([found.classes[k] for k in found.labels[0]], len(found.classes)) == (["Building"], 60)
    with pytest.raises(DatasetError, match="lies outside the picture"):
        read_xview(tmp_path, lenient=False)
    text(source, json.dumps({"features": [feature("10,20,30,40", 1)]}))
    with pytest.raises(DatasetError, match="class 1, which is none of"):
        read_xview(tmp_path)


def test_sar_ship_chips_split_at_random_or_by_scene(tmp_path: Path) -> None:
    for number in range(20):
        name = f"Gao_ship_hh_0201608{number // 4:02d}44010{number:04d}"
        picture(tmp_path / f"{name}.png", bands=1)
        text(tmp_path / f"{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    parts = {split: read_sar_ship(tmp_path, split) for split in ("train", "test")}
    assert (len(parts["train"]), len(parts["test"])) == (16, 4)
    assert parts["train"].pixels(0).shape == (3, 80, 100)
    scenes = [
        {Path(str(p)).name[:21] for p in read_sar_ship(tmp_path, s, rule="by-scene").images} for s in ("train", "test")
    ]
    assert not scenes[0] & scenes[1]
    with pytest.raises(DatasetError, match="no split 'val'"):
        read_sar_ship(tmp_path, "val")


def test_an_unknown_layout_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is none of .*coco.*yolo"):
        read_detections(tmp_path, "train")
    with pytest.raises(DatasetError, match="There is no folder"):
        read_detections(tmp_path / "absent", "train")
