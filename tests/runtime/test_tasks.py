"""From raw outputs to products: each tile ends once, and identities never change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from exporters.package import ModelPackage
from runtime.engines import open_onnx_engine
from runtime.errors import EngineError
from runtime.records import FloatArray, Footprint, TileRef, UInt8Array
from runtime.tasks import Classifier, product_id

MakePackage = Callable[..., ModelPackage]
PLACE = Footprint(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)))


@dataclass
class FixedEngine:
    """Answers what it was given."""

    answers: FloatArray
    name: str = "fixed v1"
    provider: str = "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        return self.answers[: len(batch)]


@dataclass
class BrokenEngine:
    """Fails every run."""

    name: str = "broken v1"
    provider: str = "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        raise EngineError(f"{self.name} failed on {len(batch)} tiles. Reload it.")


def colours(*levels: tuple[int, int, int]) -> tuple[list[TileRef], UInt8Array]:
    pixels = np.array(levels, dtype=np.uint8)[:, :, None, None].repeat(16, axis=2).repeat(16, axis=3)
    return [TileRef("scene", 0, 16 * index, 16, truth="red") for index in range(len(levels))], pixels


def test_a_tile_becomes_a_label_with_score_value_place_and_time(make_package: MakePackage) -> None:
    package = make_package()
    classifier = Classifier(engine=open_onnx_engine(package), package=package, class_value={"green": 4.0})
    refs, pixels = colours((200, 10, 10), (10, 200, 10))
    products, outcomes = classifier.answer(refs, pixels, slot=7, captured_unix_s=5.0, footprints=[PLACE, None])
    assert [outcome.outcome for outcome in outcomes] == ["done", "done"]
    assert [product.label for product in products] == ["red", "green"]
    red, green = products
    assert red.score == pytest.approx(1.0, abs=1e-3)
    assert red.value == red.score
    assert green.value == 4.0 * green.score
    assert (red.slot, red.kind, red.captured_unix_s, red.footprint, red.truth) == (7, "label", 5.0, PLACE, "red")
    assert (red.package_id, red.package_sha256, red.frame_id) == ("colour", package.sha256, "scene")


def test_nan_fails_its_tile_and_no_other(make_package: MakePackage, poisoned_graph: Callable[[int], bytes]) -> None:
    package = make_package(onnx=poisoned_graph(16))
    classifier = Classifier(engine=open_onnx_engine(package, test=False), package=package)
    refs, pixels = colours((9, 200, 9), (255, 0, 0), (9, 9, 200))
    products, outcomes = classifier.answer(refs, pixels, slot=0, captured_unix_s=0.0)
    assert [outcome.outcome for outcome in outcomes] == ["done", "failed", "done"]
    assert "NaN" in outcomes[1].reason
    assert [product.label for product in products] == ["green", "blue"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1.0])
def test_what_is_no_probability_fails_its_tile(make_package: MakePackage, bad: float) -> None:
    answers = np.array([[0.2, 0.7, 0.1], [0.2, bad, 0.1]], dtype=np.float32)
    classifier = Classifier(engine=FixedEngine(answers), package=make_package())
    refs, pixels = colours((0, 0, 0), (0, 0, 0))
    products, outcomes = classifier.answer(refs, pixels, slot=0, captured_unix_s=0.0)
    assert [outcome.outcome for outcome in outcomes] == ["done", "failed"]
    assert [product.label for product in products] == ["green"]


def test_a_run_that_fails_fails_its_tiles_with_the_reason(make_package: MakePackage) -> None:
    classifier = Classifier(engine=BrokenEngine(), package=make_package())
    refs, pixels = colours((0, 0, 0), (0, 0, 0))
    products, outcomes = classifier.answer(refs, pixels, slot=0, captured_unix_s=0.0)
    assert products == []
    assert [(outcome.ref, outcome.outcome) for outcome in outcomes] == [(ref, "failed") for ref in refs]
    assert "Reload" in outcomes[0].reason


def test_answers_for_another_number_of_classes_fail_their_tiles(make_package: MakePackage) -> None:
    classifier = Classifier(engine=FixedEngine(np.full((2, 5), 0.2, dtype=np.float32)), package=make_package())
    refs, pixels = colours((0, 0, 0), (0, 0, 0))
    assert [outcome.outcome for outcome in classifier.answer(refs, pixels, slot=0, captured_unix_s=0.0)[1]] == [
        "failed"
    ] * 2


def test_product_ids_are_the_same_everywhere_and_differ_in_all_that_matters() -> None:
    ref = TileRef("scene", 64, 128, 64)
    assert product_id(ref, "ab" * 32, 3) == "132bc94c5593d8a9"
    others = [
        product_id(TileRef("scene@2", 64, 128, 64), "ab" * 32, 3),
        product_id(TileRef("scene", 128, 64, 64), "ab" * 32, 3),
        product_id(TileRef("scene", 64, 128, 32), "ab" * 32, 3),
        product_id(ref, "cd" * 32, 3),
        product_id(ref, "ab" * 32, 4),
    ]
    assert len({product_id(ref, "ab" * 32, 3), *others}) == 6
    assert product_id(TileRef("scene", 64, 128, 64, truth="Forest"), "ab" * 32, 3) == product_id(ref, "ab" * 32, 3)
