"""Operator rules and the ladder of detail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from runtime.downlink import DownlinkSession, Rules
from runtime.downlink.rules import choose, climb
from runtime.errors import MissionError
from runtime.ground.archive import Archive
from runtime.ground.direct import DirectLink
from runtime.records import Footprint, Product, SlotRecord, TileOutcome
from runtime.scenarios import load_with_rules
from runtime.store import ProductStore
from runtime.store.products import Transfer
from runtime.wire.payload import size_byte

MakeProduct = Callable[..., Product]


def test_without_rules_everything_goes_whole_and_in_order(make_product: MakeProduct) -> None:
    products = [make_product(number) for number in range(5)]
    choice = choose(Rules(), products, 10_000, {})
    assert choice.products == tuple(products)
    assert (choice.text, choice.plain_label) == ("", 0)


def test_classes_score_and_area_keep_products_back(make_product: MakeProduct) -> None:
    rules = Rules(
        classes=("Forest", "River"), minimum_score=0.5, west_deg=9.0, east_deg=12.0, south_deg=49.0, north_deg=52.0
    )
    far = Footprint(((-60.0, 0.0), (-59.0, 0.0), (-59.0, 1.0), (-60.0, 1.0), (-60.0, 0.0)))
    products = [
        make_product(1),
        make_product(2, label="SeaLake"),
        replace(make_product(3), score=0.4),
        replace(make_product(4), footprint=far),
        replace(make_product(5), footprint=None),
    ]
    choice = choose(rules, products, 10_000, {})
    assert choice.products == (products[0], products[4])
    assert choice.text == "1 kept back by area, 1 kept back by class, 1 kept back by score"


def test_a_quota_holds_over_the_rounds_of_a_pass(make_product: MakeProduct) -> None:
    rules = Rules(quota_product={"Forest": 3})
    products = [make_product(number) for number in range(5)] + [make_product(9, label="River")]
    choice = choose(rules, products, 10_000, {"Forest": 1})
    assert [product.label for product in choice.products] == ["Forest", "Forest", "River"]
    assert choice.kept_back == {"quota": 3}


def test_a_tight_budget_takes_labels_before_outlines(make_product: MakeProduct) -> None:
    products = [make_product(number, value=1.0) for number in range(20)]
    label_byte = sum(size_byte(replace(product, footprint=None)) for product in products)
    tight, plain = climb(products, label_byte, label_share=0.7)
    assert plain == 20
    assert all(product.footprint is None for product in tight)
    roomy, plain = climb(products, 1e6, label_share=0.7)
    assert plain == 0
    assert set(roomy) == set(products)


def test_with_the_ladder_a_tight_pass_brings_more_value(make_product: MakeProduct) -> None:
    products = [make_product(number, value=1.0) for number in range(200)]
    share, budget = 0.85, 4000.0

    def value_of(taken: list[Product]) -> float:
        left, value = budget, 0.0
        for one in taken:
            if size_byte(one) <= left:
                left -= size_byte(one)
                value += one.value * (1.0 if one.footprint else share)
        return value

    assert value_of(climb(products, budget, share)[0]) > 1.2 * value_of(products)


def test_a_pass_follows_the_rules_and_says_so(
    store: ProductStore,
    station: DirectLink,
    archive: Archive,
    make_product: MakeProduct,
    make_record: Callable[..., SlotRecord],
) -> None:
    products = [make_product(number, label="River" if number % 3 else "Forest") for number in range(60)]
    store.commit_slot(make_record(0), [], products)
    rules = Rules(classes=("River",), quota_product={"River": 10}, label_share=0.8)
    report = DownlinkSession(store, station, rules=rules, clock=lambda: 0.0).run_pass(0, 100_000)
    station.close()
    assert report.sent_product == 10
    assert report.left_behind == 50
    assert "20 kept back by class" in report.text
    assert "30 kept back by quota" in report.text
    assert {product.label for product in archive.products()} == {"River"}


def test_a_label_that_comes_again_with_its_outline_is_completed_not_doubled(
    station: DirectLink, archive: Archive, make_product: MakeProduct
) -> None:
    from runtime.wire.packets import Apid, build
    from runtime.wire.payload import encode_batch

    whole = make_product(1)
    for sequence, product in enumerate((replace(whole, footprint=None), whole)):
        station.send(build(Apid.PRODUCTS, sequence, encode_batch(1, sequence, [product])))
    station.close()
    kept = list(archive.products())
    assert len(kept) == 1
    assert kept[0].footprint is not None


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"klasses": []}, "klasses"),
        ({"classes": "Forest"}, "classes"),
        ({"minimum_score": 2.0}, "minimum_score"),
        ({"minimum_score": "high"}, "minimum_score"),
        ({"label_share": 0.0}, "label_share"),
        ({"west_deg": 10.0, "east_deg": 5.0}, "west"),
        ({"quota_product": {"Forest": -1}}, "quota_product"),
        ({"north_deg": float("nan")}, "north_deg"),
    ],
)
def test_r12_a_bad_rule_is_named(table: dict[str, Any], word: str) -> None:
    with pytest.raises(MissionError, match=word):
        Rules.from_table(table)


def test_rules_come_from_a_table() -> None:
    rules = Rules.from_table({"classes": ["Forest"], "minimum_score": 0.5, "quota_product": {"Forest": 9}})
    assert (rules.classes, rules.minimum_score, rules.quota_product) == (("Forest",), 0.5, {"Forest": 9})


def test_an_outline_that_had_to_stay_behind_comes_in_a_later_pass(
    store: ProductStore,
    station: DirectLink,
    archive: Archive,
    make_slot: Callable[..., tuple[SlotRecord, list[TileOutcome], list[Product]]],
) -> None:
    store.commit_slot(*make_slot(0, 60))
    session = DownlinkSession(store, station, rules=Rules(label_share=0.9), clock=lambda: 0.0)
    whole_byte = 60 * 60 + 500
    first = session.run_pass(0, whole_byte * 2 // 3)
    missing = sum(one.footprint is None for one in archive.products())
    assert first.sent_product == first.delivered_product > 50
    assert missing > 10
    assert len(store.bare(100)) == missing
    session.run_pass(1, whole_byte)
    assert all(one.footprint is not None for one in archive.products())
    assert store.bare(100) == ()
    session.run_pass(2, whole_byte)
    assert session.run_pass(3, whole_byte).sent_product == 0
    assert archive.count() == store.counts().delivered_product == 60


def test_an_outline_that_was_lost_on_its_way_is_sent_again(
    store: ProductStore,
    station: DirectLink,
    archive: Archive,
    make_slot: Callable[..., tuple[SlotRecord, list[TileOutcome], list[Product]]],
) -> None:
    record, outcomes, products = make_slot(0, 3)
    store.commit_slot(record, outcomes, products)
    names = tuple(product.product_id for product in products)
    store.mark_sent(Transfer(store.next_transfer(), 0, 0, 1, 100, (names,), frozenset(names)))
    store.mark_acknowledged(store.open_transfers()[0], [(0, 1)], complete=True)
    lost = store.next_transfer()
    store.mark_sent(Transfer(lost, 1, 1, 1, 100, (names,)))
    assert store.open_transfers() == (lost,)
    store.mark_acknowledged(lost, [], complete=True)
    assert store.open_transfers() == ()
    assert {one.product_id for one in store.bare(9)} == set(names)
    assert store.counts().delivered_product == 3


def test_rules_of_a_scenario_and_of_a_mission_are_read_by_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        files("power_sim").joinpath("scenarios", "uav-survey.toml").read_text() + "\n[downlink]\nlabel_share = 0.7\n"
    )
    scenario, rules = load_with_rules(str(path), {"downlink.pictures_per_slot": "2", "policy.horizon_slots": "9"})
    assert (rules.label_share, rules.pictures_per_slot, scenario.policy.horizon_slots) == (0.7, 2, 9)
    assert load_with_rules("cubesat-6u", {})[1] == Rules()
    with pytest.raises(MissionError, match="unknown keys"):
        load_with_rules("cubesat-6u", {"downlink.colour": "1"})
    for wrong in ("-1", "1.5", "true"):
        with pytest.raises(MissionError, match="pictures_per_slot"):
            load_with_rules("cubesat-6u", {"downlink.pictures_per_slot": wrong})
