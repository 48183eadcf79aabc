"""Hybrid-SegUFormer's course: what is held back, the teacher, no data, and a package that marks a real scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.checkpoint import Checkpoint
from exporters.courses.hybrid_segufomer import SlopeCourse, course, fit_threshold, probability
from exporters.errors import DatasetError
from exporters.export import ExportSettings, export_checkpoint
from exporters.readers.interferogram import read_interferograms, write_rendering
from exporters.readers.landslide import Slope
from exporters.zoo.hybrid_segufomer import HybridSegUFormer
from runtime.infer import infer_scenes


def slope(number: int, edge: int = 48) -> Slope:
    rng = np.random.default_rng(number)
    pixels = rng.integers(20, 120, (3, edge, edge)).astype(np.uint8)
    moving = np.zeros((edge, edge), dtype=bool)
    moving[8:20, 8:20] = True
    pixels[:, moving] += 100
    pixels[:, -4:] = 0
    return Slope(f"slope{number}", pixels, moving, pixels.max(axis=0) > 0)


def small(**settings: object) -> SlopeCourse:
    given = {"edge_px": 32, "batch": 2, "steps_per_epoch": 2, "switches": {"width": 4}, **settings}
    some = [slope(number) for number in range(3)]
    return SlopeCourse(train=some[:1], held=some[1:2], tests=some[2:], dataset="three", **given)  # type: ignore[arg-type]


def test_one_seed_and_epoch_is_one_sequence_of_batches() -> None:
    first, again, other = (list(made.batches(3)) for made in (small(), small(), small(seed=1)))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    image, truth, valid = first[0]
    assert (image.shape, truth.shape, valid.shape) == ((2, 3, 32, 32), (2, 1, 32, 32), (2, 1, 32, 32))
    assert bool((image.amax(1, keepdim=True)[~valid.bool()] == 0).all())


def test_the_teacher_pulls_and_is_no_part_of_the_network() -> None:
    made = small()
    torch.manual_seed(0)
    network, batch = made.build(), next(iter(made.batches(0)))
    first = made.loss(network, batch)["loss"]
    first.backward()  # type: ignore[no-untyped-call]
    assert made.teacher.network is not None
    assert all(parameter.grad is None for parameter in made.teacher.network.parameters())
    assert network.state_dict().keys() == made.teacher.network.state_dict().keys()
    assert small(distil=False).loss(network, batch)["loss"] != first


def test_a_threshold_finds_bright_slopes_and_no_data_is_never_moving() -> None:
    made = small()
    found = fit_threshold(made.train)
    assert (found.mask(made.tests[0].pixels) == made.tests[0].moving).all()
    network = HybridSegUFormer(4).eval()
    torch.nn.init.constant_(network.state_dict()["head.bias"], 100.0)
    answer = probability(network, made.tests[0].pixels, 32)
    assert (answer[~made.tests[0].valid] == 0).all()
    assert (answer[made.tests[0].valid] > 0.99).all()


def test_the_measures_leave_out_no_data_and_are_also_given_with_it() -> None:
    made = small()
    found = made.test(made.build().eval())
    assert found["threshold-f1"] == 1.0
    assert {"f1", "iou", "with-nodata-f1"} <= found.keys()


def test_the_bijie_pictures_are_split_as_listed_and_mexico_is_labelled_by_a_threshold(data_dir: Path) -> None:
    if not (data_dir / "landslide-bijie-samples").is_dir():
        pytest.skip("needs DATA: landslide-bijie-samples")
    made = course(data_dir / "landslide-bijie-samples")
    assert [len(some) for some in (made.train, made.held, made.tests)] == [11, 3, 8]
    names = [{s.name for s in some} for some in (made.train, made.held, made.tests)]
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & names[2]
    mexico = course(data_dir / "insar-mexico-city")
    assert "a threshold, not a person" in mexico.describe().notes["labels"]
    assert "labelled by a threshold" in mexico.describe().dataset
    assert all(some[0].moving.any() for some in (mexico.train, mexico.held, mexico.tests))


def test_bad_sizes_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="multiples of 16"):
        course(tmp_path, edge_px=40)
    with pytest.raises(DatasetError, match=r"neither train\.txt"):
        course(tmp_path)


def test_a_package_marks_the_real_interferograms_and_leaves_out_what_is_not_known(
    data_dir: Path, tmp_path: Path
) -> None:
    import rasterio

    folder = data_dir / "insar-mexico-city"
    if not folder.is_dir():
        pytest.skip("needs DATA: insar-mexico-city")
    made = course(folder, width=4)
    torch.manual_seed(0)
    about = made.describe()
    checkpoint = Checkpoint(
        network="hybrid_segufomer", size="edge", switches=dict(made.switches), kind="mask", classes=about.classes,
        bands=about.bands, edge_px=about.edge_px, mean=about.mean, std=about.std, licence="CC0-1.0",
        dataset=about.dataset, gsd_range_m=about.gsd_range_m, state_dict=made.build().state_dict(),
        notes={"metric": "f1", "test": {"f1": 0.5, "n": 10, "ci95_low": 0.2, "ci95_high": 0.8}},
    )  # fmt: skip
    package = export_checkpoint(
        checkpoint, made.tiles("train"), tmp_path / "package", None, settings=ExportSettings(batches=(1, 2), repeats=2)
    )
    velocity = write_rendering(read_interferograms(folder), tmp_path / "velocity.tif")
    result = infer_scenes(package, [tmp_path / "velocity.tif"], tmp_path / "out", overlap_px=8)
    assert result.complete
    (written,) = (tmp_path / "out").glob("*.tif")
    with rasterio.open(written) as image:
        mask = image.read(1)
        assert image.crs.to_epsg() == 4326
        known = image.dataset_mask() > 0
    assert mask.shape == velocity.shape
    assert set(np.unique(mask[known])) <= {0, 1}
    assert not known[~np.isfinite(velocity)].any()


def test_interferograms_without_any_data_are_refused(tmp_path: Path) -> None:
    import rasterio
    from affine import Affine

    with rasterio.open(
        tmp_path / "crop_20180106-20180130_unw.tif", "w", driver="GTiff", width=80, height=40, count=1,
        dtype="float32", crs="EPSG:4326", transform=Affine(1e-3, 0.0, 10.0, 0.0, -1e-3, 50.0),
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 40, 80), dtype=np.float32))
    with pytest.raises(DatasetError, match="no pixel with data"):
        course(tmp_path)


def test_crops_that_must_show_moving_ground_do() -> None:
    def share(made: SlopeCourse) -> float:
        return float(np.mean([float(batch[1].mean()) for epoch in range(4) for batch in made.batches(epoch)]))

    assert share(small(shown_frac=1.0, edge_px=16)) > share(small(edge_px=16))
