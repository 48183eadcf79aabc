"""Tiles with a strange pixel come first; answers that are no scores fail their tile and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from exporters.package import ModelPackage
from exporters.records import OutputSpec
from runtime.answers import View, When, reader_of
from runtime.errors import EngineError
from runtime.records import FloatArray, TileRef
from runtime.tasks.anomaly import AnomalyTask, peak_z

EDGE_PX = 16
MakePackage = Callable[..., ModelPackage]


@dataclass
class Scores:
    """Answers what it is given."""

    name: str = "scores v1"
    provider: str = "cpu"

    def infer(self, batch: FloatArray) -> FloatArray:
        return batch

    def close(self) -> None:
        pass


def view(frame_id: str) -> View:
    return View(64, 64)


def task_of(package: ModelPackage, **settings: object) -> AnomalyTask:
    info = replace(package.info, task="anomaly", classes=("anomaly",), output=OutputSpec(name="score", kind="map"))
    return AnomalyTask(engine=Scores(), package=replace(package, info=info), **settings)  # type: ignore[arg-type]


def answers(peaks: list[float]) -> tuple[list[TileRef], FloatArray]:
    raw = np.random.default_rng(0).chisquare(8, (len(peaks), 1, EDGE_PX, EDGE_PX)).astype(np.float32)
    raw[:, 0, 3, 5] = peaks
    return [TileRef("field", 0, EDGE_PX * number, EDGE_PX, "farm") for number in range(len(peaks))], raw


def test_the_stranger_tile_has_the_higher_score_and_is_worth_more(make_package: MakePackage) -> None:
    task = task_of(make_package(EDGE_PX), class_value={"anomaly": 5.0})
    refs, raw = answers([30.0, 3000.0, 300.0])
    findings, outcomes = task.read(refs, raw, view)
    products = task.products([findings], view, When(4, 1e9))
    assert [outcome.outcome for outcome in outcomes] == ["done"] * 3
    assert [product.label for product in products] == ["anomaly"] * 3
    assert products[1].value > products[2].value > products[0].value > 0.0
    assert all(product.value < 5.0 and product.truth is None for product in products)
    assert products[1].score == pytest.approx(peak_z(raw[1].reshape(1, -1))[0])
    assert reader_of(task) is task


def test_at_half_z_a_tile_is_worth_half(make_package: MakePackage) -> None:
    refs, raw = answers([50.0])
    z = float(peak_z(raw.reshape(1, -1))[0])
    task = task_of(make_package(EDGE_PX), half_z=z)
    assert task.products([task.read(refs, raw, view)[0]], view, When(0, 0.0))[0].value == pytest.approx(0.5)


def test_ordinary_tiles_may_be_left_unsaid(make_package: MakePackage) -> None:
    task = task_of(make_package(EDGE_PX), min_z=20.0)
    refs, raw = answers([10.0, 3000.0])
    products = task.products([task.read(refs, raw, view)[0]], view, When(0, 0.0))
    assert [product.col_px for product in products] == [EDGE_PX]


def test_answers_that_are_no_scores_fail_their_tile_alone(make_package: MakePackage) -> None:
    task = task_of(make_package(EDGE_PX))
    refs, raw = answers([30.0, float("nan"), -5.0, float("inf")])
    findings, outcomes = task.read(refs, raw, view)
    assert [outcome.outcome for outcome in outcomes] == ["done", "failed", "failed", "failed"]
    assert "below 0" in outcomes[2].reason
    assert len(findings) == 1


def test_a_flat_tile_has_no_anomaly() -> None:
    assert peak_z(np.full((2, 16), 7.0)).tolist() == [0.0, 0.0]


def test_what_is_no_map_of_one_channel_is_refused(make_package: MakePackage) -> None:
    package = make_package(EDGE_PX)
    with pytest.raises(EngineError, match="anomalies need a 'map'"):
        AnomalyTask(engine=Scores(), package=package)
    task = task_of(package)
    with pytest.raises(EngineError):
        task.read([TileRef("field", 0, 0, EDGE_PX)], np.zeros((1, 2, EDGE_PX, EDGE_PX), dtype=np.float32), view)
    with pytest.raises(EngineError, match="half_z"):
        task_of(package, half_z=0.0)
