"""What a flight becomes in other people's formats."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
import sys
from dataclasses import fields, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import MissionError
from runtime.exports import (
    check_formats,
    czml,
    flight_geojson,
    products_table,
    slots_table,
    write_csv,
    write_exports,
    write_parquet,
)
from runtime.exports.geojson import cut_at_antimeridian
from runtime.records import SlotRecord
from runtime.report import GroundTrack, ReplayReport

PACKET = {
    "id", "name", "description", "availability", "version", "clock", "position", "point", "label", "path", "polyline",
    "polygon", "ellipse", "properties",
}  # fmt: skip
"""Names that the CZML structure knows and that are written here."""
INTERVAL = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z/\d{4}-\d\d-\d\dT[\d:.]+Z$")


@pytest.fixture(scope="module")
def flight() -> ReplayReport:
    path = Path(__file__).with_name("test_report.py")
    spec = importlib.util.spec_from_file_location("report_flight_of_exports", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_flight_of_exports"] = module
    spec.loader.exec_module(module)
    made: ReplayReport = module.fly()
    return replace(made, track=replace(made.track, altitude_m=np.full(len(made.track.unix_s), 500e3)))


@pytest.fixture(scope="module")
def packets(flight: ReplayReport) -> list[dict[str, Any]]:
    return list(json.loads(czml(flight)))


def by_id(packets: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(packet for packet in packets if packet["id"] == name)


def parsed(interval: str) -> tuple[float, float]:
    begin, end = (datetime.fromisoformat(part.replace("Z", "+00:00")).timestamp() for part in interval.split("/"))
    return begin, end


def intervals(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value[name] for name in ("interval", "availability") if isinstance(value.get(name), str)]
        return own + [one for part in value.values() for one in intervals(part)]
    return [one for part in value for one in intervals(part)] if isinstance(value, list) else []


def test_a_czml_document_begins_with_its_version_and_clock(packets: list[dict[str, Any]]) -> None:
    assert packets[0]["id"] == "document"
    assert packets[0]["version"] == "1.0"
    assert set(packets[0]["clock"]) == {"interval", "currentTime", "multiplier", "range", "step"}


def test_every_czml_packet_has_an_id_of_its_own_and_known_names(packets: list[dict[str, Any]]) -> None:
    ids = [packet["id"] for packet in packets]
    assert len(ids) == len(set(ids))
    assert all(set(packet) <= PACKET for packet in packets)


def test_every_czml_interval_runs_forward(packets: list[dict[str, Any]]) -> None:
    found = intervals(packets)
    assert len(found) > 500
    for text in found:
        assert INTERVAL.match(text), text
        begin, end = parsed(text)
        assert begin <= end


def test_the_crafts_czml_position_lies_at_its_height_over_its_track(
    packets: list[dict[str, Any]], flight: ReplayReport
) -> None:
    position = by_id(packets, "craft")["position"]
    rows = np.array(position["cartesian"]).reshape(-1, 4)
    assert position["referenceFrame"] == "FIXED"
    assert np.all(np.diff(rows[:, 0]) > 0)
    radius = np.linalg.norm(rows[:, 1:], axis=1)
    assert np.all((radius > 6_850e3) & (radius < 6_880e3))
    longitude = math.degrees(math.atan2(rows[5, 2], rows[5, 1]))
    assert abs((longitude - flight.track.longitude_deg[5] + 180) % 360 - 180) < 0.01


def test_czml_says_model_reason_and_eclipse_as_properties_over_the_whole_flight(
    packets: list[dict[str, Any]], flight: ReplayReport
) -> None:
    properties = by_id(packets, "craft")["properties"]
    assert [row["string"] for row in properties["model"]] == [slot.model for slot in flight.slots]
    assert [row["string"] for row in properties["reason"]] == [slot.reason for slot in flight.slots]
    dark = sum(
        end - begin for row in properties["eclipse"] if row["boolean"] for begin, end in [parsed(row["interval"])]
    )
    share = 1 - float(np.mean(flight.track.sunlit))
    assert dark / (flight.track.unix_s[-1] - flight.track.unix_s[0]) == pytest.approx(share, abs=0.02)


def test_each_pass_is_a_line_between_objects_that_exist(packets: list[dict[str, Any]], flight: ReplayReport) -> None:
    ids = {packet["id"] for packet in packets}
    lines = [packet for packet in packets if packet["id"].startswith("pass/")]
    assert len(lines) == len(flight.passes)
    for line, one in zip(lines, flight.passes, strict=True):
        ends = {reference.split("#")[0] for reference in line["polyline"]["positions"]["references"]}
        assert ends == {f"station/{one.station}", "craft"}
        assert ends <= ids
        assert line["properties"]["left_product"] == one.left_product


def test_a_footprint_appears_with_its_slot_and_stays(packets: list[dict[str, Any]], flight: ReplayReport) -> None:
    rings = [packet for packet in packets if packet["id"].startswith("answer/")]
    assert len(rings) == len(flight.products)
    assert len(rings[0]["polygon"]["positions"]["cartographicDegrees"]) == 12
    assert parsed(rings[-1]["availability"])[1] == parsed(packets[0]["clock"]["interval"])[1]


def test_a_flight_over_nowhere_has_no_czml(flight: ReplayReport) -> None:
    nowhere = GroundTrack(np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.bool_))
    with pytest.raises(MissionError, match="no place on Earth"):
        czml(replace(flight, track=nowhere))


def test_geojson_holds_track_slots_stations_and_answers(flight: ReplayReport) -> None:
    table = json.loads(flight_geojson(flight))
    kinds = [feature["properties"]["kind"] for feature in table["features"]]
    assert kinds.count("slot") == len(flight.slots)
    assert kinds.count("answer") == len(flight.products)
    assert kinds.count("station") == len(flight.stations)
    assert {feature["properties"]["sunlit"] for feature in table["features"] if "sunlit" in feature["properties"]} == {
        True,
        False,
    }
    assert len(table["passes"]) == len(flight.passes)


def test_geojson_lines_never_jump_across_the_map(flight: ReplayReport) -> None:
    for feature in json.loads(flight_geojson(flight))["features"]:
        if feature["properties"]["kind"] != "track":
            continue
        for line in feature["geometry"]["coordinates"]:
            assert all(abs(a[0] - b[0]) <= 180 for a, b in pairwise(line))
            assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in line)


def test_a_line_over_the_antimeridian_is_cut_on_it() -> None:
    assert cut_at_antimeridian([(-179.0, 10.0), (179.0, 12.0)]) == [
        [(-179.0, 10.0), (-180.0, 11.0)],
        [(180.0, 11.0), (179.0, 12.0)],
    ]


def test_a_slot_without_a_figure_is_null_and_not_nan(flight: ReplayReport) -> None:
    blind = [replace(slot, accuracy_frac=math.nan) for slot in flight.slots]
    text = flight_geojson(replace(flight, slots=blind))
    assert "NaN" not in text
    assert json.loads(text)


def test_csv_and_back_gives_the_answers_again(flight: ReplayReport, tmp_path: Path) -> None:
    write_csv(products_table(flight), tmp_path / "products.csv")
    with (tmp_path / "products.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == [one.label for one in flight.products]
    assert [row["sent_in_slot"] for row in rows] == [
        "" if one.sent_in_slot is None else str(one.sent_in_slot) for one in flight.products
    ]


def test_parquet_keeps_types_and_nulls(flight: ReplayReport, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'subsolar[parquet]'")
    blind = replace(flight, slots=[replace(flight.slots[0], accuracy_frac=math.nan), *flight.slots[1:]])
    write_parquet(slots_table(blind), tmp_path / "slots.parquet")
    table = parquet.read_table(tmp_path / "slots.parquet")
    assert table.column_names == [item.name for item in fields(SlotRecord)]
    assert str(table.schema.field("admitted_tile").type) == "int64"
    assert str(table.schema.field("reserve_violated").type) == "bool"
    assert table.column("accuracy_frac")[0].as_py() is None
    assert table.column("charge_frac")[3].as_py() == flight.slots[3].charge_frac


def test_what_was_asked_for_is_written_and_nothing_else(flight: ReplayReport, tmp_path: Path) -> None:
    written = write_exports(flight, {"czml", "geojson", "csv"}, tmp_path)
    assert sorted(path.name for path in written) == ["products.csv", "replay.czml", "replay.geojson"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["products.csv", "replay.czml", "replay.geojson"]


def test_the_same_flight_gives_the_same_bytes(flight: ReplayReport) -> None:
    assert czml(flight) == czml(flight)
    assert flight_geojson(flight) == flight_geojson(flight)


def test_an_unknown_format_is_refused_before_the_flight() -> None:
    with pytest.raises(MissionError, match="no format 'kml'"):
        check_formats({"kml"})


def test_a_folder_that_is_not_there_is_told_in_one_line(flight: ReplayReport, tmp_path: Path) -> None:
    with pytest.raises(MissionError, match="Give another --out"):
        write_exports(flight, {"geojson"}, tmp_path / "missing")
