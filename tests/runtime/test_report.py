"""The report page, on a made-up flight of three orbits with everything in it that a real one may hold."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import fields, replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import MissionError
from runtime.records import SlotRecord
from runtime.report import (
    Finding,
    FrameView,
    GroundTrack,
    PackageView,
    PassRecord,
    ReplayReport,
    Station,
    render_report,
)
from runtime.reserve_words import reserve_note

START_UNIX_S = 1_710_936_000.0
SLOT_S = 240.0
SLOTS = 71
ORBIT_S = 5_680.0
MODELS = {"mobilenet_v3_large": (0.946, 0.0021), "mobilenet_v2": (0.931, 0.0017), "resnet18": (0.902, 0.0011)}
CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
    "River", "SeaLake",
)  # fmt: skip
COLUMNS, ROWS = 25, 24
WEST_DEG, NORTH_DEG, STEP_DEG = 11.2, 48.3, 0.0086


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a (rows, cols, 3) picture as PNG."""
    rows, cols, _ = pixels.shape
    raw = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1).tobytes()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", cols, rows, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def orbit(unix_s: float) -> tuple[float, float, bool]:
    """Return latitude, longitude and sunlight on a circular orbit of 97.5 degrees."""
    angle = 2 * math.pi * (unix_s - START_UNIX_S) / ORBIT_S + 0.6
    tilt = math.radians(97.5)
    latitude = math.degrees(math.asin(math.sin(tilt) * math.sin(angle)))
    longitude = math.degrees(math.atan2(math.cos(tilt) * math.sin(angle), math.cos(angle)))
    longitude -= 360 * (unix_s - START_UNIX_S) / 86_164
    return latitude, (longitude + 180) % 360 - 180, (angle / (2 * math.pi)) % 1 < 0.64


def ring(cell: int) -> tuple[tuple[float, float], ...]:
    west, north = WEST_DEG + cell % COLUMNS * STEP_DEG * 1.45, NORTH_DEG - cell // COLUMNS * STEP_DEG
    east, south = west + STEP_DEG * 1.45, north - STEP_DEG
    return ((west, south), (east, south), (east, north), (west, north), (west, south))


def box(cell: int) -> tuple[int, int, int]:
    return cell // COLUMNS * 64, cell % COLUMNS * 64, 64


def mosaic(truth: NDArray[np.int64], rng: np.random.Generator) -> bytes:
    tint = rng.integers(40, 150, (len(CLASSES), 3))
    cells = tint[truth.reshape(ROWS, COLUMNS)]
    large = np.kron(cells, np.ones((16, 16, 1))) + rng.normal(0, 9, (ROWS * 16, COLUMNS * 16, 1))
    return png(large.clip(0, 255).astype(np.uint8))


def fly() -> ReplayReport:
    """Return a plausible flight: the same one each time."""
    rng = np.random.default_rng(7)
    truth = rng.permutation(np.repeat(np.arange(10), 60))
    passes = [
        PassRecord("Svalbard", START_UNIX_S + 1_020, START_UNIX_S + 1_620, 41_230, 0, 0),
        PassRecord("Matera", START_UNIX_S + 5_300, START_UNIX_S + 5_780, 38_400, 0, 0),
        PassRecord("Svalbard", START_UNIX_S + 6_640, START_UNIX_S + 7_230, 40_900, 0, 0),
        PassRecord("Svalbard", START_UNIX_S + 12_400, START_UNIX_S + 12_950, 35_100, 0, 0),
    ]
    slots: list[SlotRecord] = []
    findings: list[Finding] = []
    charge, queue, heat, sent = 0.56, 0, 14.0, 0
    for index in range(SLOTS):
        start = START_UNIX_S + index * SLOT_S
        latitude, longitude, _ = orbit(start)
        sunlit = float(np.mean([orbit(start + part * 30)[2] for part in range(8)]))
        cover = ("ocean", "land", "coast", "city", "ice")[int(rng.integers(5))] if abs(latitude) < 70 else "ice"
        arrived = int(rng.poisson({"ocean": 9_000, "ice": 14_000}.get(cover, 62_000)))
        spare = max(0.0, (charge - 0.4) * 600)
        model = "idle" if charge < 0.43 else list(MODELS)[0 if spare > 80 else 1 if spare > 40 else 2]
        overruled = "would leave 38.9 %, below the reserve of 40 %; took resnet18" if index % 17 == 16 else ""
        if overruled:
            model = "resnet18"
        accuracy, per_tile = MODELS.get(model, (math.nan, 0.0))
        waiting = arrived + queue
        admitted = 0 if model == "idle" else min(waiting, int(170 / per_tile * (0.4 + sunlit)))
        shed = max(0, waiting - admitted - 30_000)
        sampled = 0 if model == "idle" else 32
        right = int(rng.binomial(sampled, accuracy)) if sampled else 0
        picks = rng.choice(600, sampled, replace=False)
        for order, cell in enumerate(picks):
            label = truth[cell] if order < right else (truth[cell] + 1 + rng.integers(9)) % 10
            score = float(rng.beta(14, 1.2))
            findings.append(
                Finding(
                    CLASSES[label], score, round(score, 2), "mosaic", index, ring(int(cell)), box(int(cell)),
                    CLASSES[truth[cell]],
                )
            )  # fmt: skip
        contact = sum(max(0.0, min(p.end_unix_s, start + SLOT_S) - max(p.start_unix_s, start)) for p in passes)
        take = min(len(findings) - sent, int(contact * 1.1))
        for order in range(sent, sent + take):
            findings[order] = replace(findings[order], sent_in_slot=index, delivered=True)
        sent += take
        joules = admitted * per_tile
        slots.append(
            SlotRecord(
                slot=index,
                start_utc=datetime.fromtimestamp(start, timezone.utc).isoformat().replace("+00:00", "Z"),
                latitude_deg=latitude,
                longitude_deg=longitude,
                cover=cover,
                sunlit_frac=sunlit,
                charge_frac=charge,
                budget_j=max(0.0, 620 * sunlit + 300 * (charge - 0.4)),
                harvest_j=1_750 * sunlit,
                load_j=1_060.0,
                temperature_c=heat,
                arrived_tile=arrived,
                queued_tile=queue,
                model=model,
                mode="" if model == "idle" else "15w",
                reason="battery near its reserve, nothing here is worth it"
                if model == "idle"
                else f"Q {2 + charge:.2f}: most right answers per joule that the budget allows",
                overruled=overruled,
                counterfactual="" if model == "idle" else "resnet18: 18 J less, 640 right answers fewer",
                limited_by="idle" if model == "idle" else "none" if admitted == waiting else "energy",
                admitted_tile=admitted,
                sampled_tile=sampled,
                shed_tile=shed,
                correct_sampled=right,
                scored_sampled=sampled,
                accuracy_frac=right / sampled if sampled else math.nan,
                expected_accuracy_frac=accuracy,
                energy_j=joules,
                energy_kind="estimated",
                reward=0.0 if model == "idle" else 1.5 * accuracy / per_tile / 300 + 10 * (accuracy - 0.8),
                pass_s=contact,
                sent_byte=take * 96,
                sent_product=take,
                backlog_product=len(findings) - sent,
                infer_measured_s=0.21,
            )
        )
        charge = min(1.0, charge + (1_750 * sunlit - 1_060 - joules) / 30_000)
        queue = max(0, waiting - admitted - shed)
        heat += 0.25 * ((30 if sunlit > 0.5 else 4) + joules / 60 - heat)
    passes = [_with_sent(one, slots) for one in passes]
    times = np.arange(START_UNIX_S, START_UNIX_S + SLOTS * SLOT_S + 1, 30.0)
    points = [orbit(float(moment)) for moment in times]
    return ReplayReport(
        title="cubesat-6u, three orbits",
        scenario="cubesat-6u",
        policy="dqn",
        seed=7,
        summary=_summary(slots, findings),
        slots=slots,
        track=GroundTrack(times, *(np.array(column) for column in zip(*points, strict=True))),
        passes=passes,
        products=findings,
        notes=(
            "A sample of 32 tiles per slot was cut and inferred; counts and joules are scaled to all admitted tiles.",
            "Joules are estimated from the packages' profiles: this machine has no energy meter.",
            "The mosaic is made of held-out EuroSAT chips. Each tile's class is real, its place on the map is not.",
        ),
        versions={"subsolar": "0.1.0", "python": "3.11.2", "numpy": "2.2.1", "scenario": "5e" * 32},
        stations=(Station("Svalbard", 78.23, 15.39), Station("Matera", 40.65, 16.7), Station("Awarua", -46.53, 168.4)),
        frames=(
            FrameView(
                "mosaic", "Mosaic of held-out EuroSAT chips", "EuroSAT, MIT; modified Copernicus Sentinel data.",
                mosaic(truth, rng), COLUMNS * 64, ROWS * 64,
            ),
        ),
        packages=tuple(
            PackageView(name, f"{name}-eurosat", hashlib.sha256(name.encode()).hexdigest(), *known, 6e-4, "estimated")
            for name, known in MODELS.items()
        ),
        reserve_frac=0.4,
        temperature_limit_c=60.0,
        slot_s=SLOT_S,
        command="subsolar replay cubesat-6u --policy dqn --seed 7 --out build/replay",
    )  # fmt: skip


def _with_sent(one: PassRecord, slots: list[SlotRecord]) -> PassRecord:
    mine = [
        slot
        for index, slot in enumerate(slots)
        if one.start_unix_s < START_UNIX_S + (index + 1) * SLOT_S and START_UNIX_S + index * SLOT_S < one.end_unix_s
    ]
    return replace(one, sent_product=sum(slot.sent_product for slot in mine), left_product=mine[-1].backlog_product)


def _summary(slots: list[SlotRecord], findings: list[Finding]) -> dict[str, object]:
    energy = sum(slot.energy_j for slot in slots)
    tiles = sum(slot.admitted_tile for slot in slots)
    right = sum(slot.correct_sampled for slot in slots) / sum(slot.scored_sampled for slot in slots)
    return {
        "scenario": "cubesat-6u", "policy": "dqn", "slots": len(slots), "tiles": tiles, "accuracy": right,
        "energy_j": energy, "energy_kind": "estimated", "aee_per_j": right * tiles / energy,
        "aee_total_per_j": right * tiles / (energy + 1_060 * len(slots)), "reward": sum(slot.reward for slot in slots),
        "shield_overrides": sum(bool(slot.overruled) for slot in slots), "reserve_violations": 0,
        "products": len(findings), "delivered": sum(one.delivered for one in findings), "versions": {},
    }  # fmt: skip


@pytest.fixture(scope="module")
def flight() -> ReplayReport:
    return fly()


@pytest.fixture(scope="module")
def page(flight: ReplayReport) -> str:
    return render_report(flight)


VOID = {"meta", "input", "img", "wbr", "br", "hr", "link"}


class Reader(HTMLParser):
    """Reads a page as a browser would, and notes what a test wants to know."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        for tag in self.open[-1:]:
            self.text.setdefault(tag, []).append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags for key, value in attrs.items() if key == name and value is not None]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_the_page_fetches_nothing(page: str) -> None:
    reader = read(page)
    for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
        assert all(value.startswith(("#", "data:image/")) for value in reader.values(name))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    written = re.sub(r"<script>.*?</script>|<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?://", written), "only the libraries' own notices may name an address"
    assert not [tag for tag, _ in reader.tags if tag in ("link", "iframe", "object", "embed", "base", "form")]


def test_the_content_policy_names_exactly_the_style_and_the_scripts_in_the_page(page: str) -> None:
    reader = read(page)
    policy = next(
        attrs["content"] for tag, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    blocks = re.findall(r"<(style|script)>(.*?)</\1>", page, re.DOTALL)
    assert [name for name, _ in blocks] == ["style", "script", "script"]
    named = re.findall(r"'(sha256-[^']+)'", policy)
    found = ["sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for _, text in blocks]
    assert named == found
    assert "connect-src" not in policy, "the file on disk asks nobody"
    assert not reader.values("style"), "a style attribute would be blocked by the policy"
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]


def test_the_markup_is_balanced_and_every_reference_has_its_target(page: str) -> None:
    reader = read(page)
    assert reader.unbalanced == []
    assert reader.open == []
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for value in reader.values("href") if value.startswith("#")}
    wanted |= {name for key in ("aria-labelledby", "aria-controls", "aria-describedby") for name in reader.values(key)}
    wanted |= set(re.findall(r"url\(#([\w-]+)\)", page))
    script = reader.text["script"][-1]
    wanted |= set(re.findall(r'byId\("([\w-]+)"\)', script))
    wanted |= {f"gauge-{name}" for name in ("battery", "joules", "heat", "queue")}
    assert wanted <= set(ids)


def stage_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="stage-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found.group(1)))


def test_the_script_gets_every_slot_with_reason_and_counterfactual(flight: ReplayReport, page: str) -> None:
    slots = stage_data(page)["slots"]
    assert slots["slot"] == [slot.slot for slot in flight.slots]
    assert slots["reason"] == [slot.reason for slot in flight.slots]
    assert set(slots["counterfactual"]) == {slot.counterfactual for slot in flight.slots}
    assert set(slots) == {item.name for item in fields(SlotRecord)} - {"start_utc"}


def test_the_script_has_words_for_every_field_of_the_page(page: str) -> None:
    script = read(page).text["script"][-1]
    words = script[script.index("function wordsOf") :].split("\n}\n")[0]
    assert set(read(page).values("data-field")) <= set(re.findall(r"^    (\w+):", words, re.MULTILINE))


def test_the_script_knows_which_answer_went_down_when(flight: ReplayReport, page: str) -> None:
    found = stage_data(page)["found"]
    assert found["sent"] == [one.sent_in_slot for one in flight.products]
    assert found["home"] == "".join("1" if one.delivered else "0" for one in flight.products)


def test_the_point_under_the_sun_is_where_noon_is(page: str) -> None:
    data = stage_data(page)
    noon = next(row for row in data["sun"] if row[0] >= START_UNIX_S - 1)  # the March equinox
    hours = (noon[0] % 86_400) / 3_600
    assert abs(noon[1]) < 0.6
    assert abs((noon[2] + 15 * (hours - 12) + 180) % 360 - 180) < 3.0  # the equation of time is at most 4 degrees


def test_a_long_flight_is_drawn_in_marks_of_several_slots_and_keeps_every_slot_for_the_slider(
    flight: ReplayReport,
) -> None:
    many = [
        replace(flight.slots[k % SLOTS], slot=k, start_utc=unix_text(START_UNIX_S + k * SLOT_S)) for k in range(4_000)
    ]
    page = render_report(replace(flight, slots=many, products=(), summary={}))
    assert "Each mark stands for 6 slots" in page
    assert len(stage_data(page)["t"]) == 4_000
    assert len(page.encode()) < 8_000_000
    assert "The first 1,500 of 4,000 slots" in page


def unix_text(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, timezone.utc).isoformat()


def test_the_same_flight_gives_the_same_bytes(flight: ReplayReport, page: str) -> None:
    assert render_report(flight) == page


def test_a_page_of_three_orbits_stays_below_two_megabytes(page: str) -> None:
    assert len(page.encode()) < 2_000_000


def test_the_headline_says_what_the_accuracy_rests_on(flight: ReplayReport, page: str) -> None:
    scored = sum(slot.scored_sampled for slot in flight.slots)
    words = "".join(read(page).text["small"])
    assert f"n = {scored:,}" in words
    assert "estimated" in words


def test_a_battery_that_the_bus_took_below_the_reserve_is_said_to_be(flight: ReplayReport) -> None:
    slots = [replace(slot, charge_frac=0.8 - 0.24 * (slot.slot == 9), reserve_violated=False) for slot in flight.slots]
    note = "the battery fell to 56 %, below the reserve of 70 %: by the bus load, not by inference"
    assert reserve_note(slots, 0.7) == note
    page = render_report(replace(flight, slots=slots, reserve_frac=0.7))
    assert f"Inference never took the battery below its reserve; {note}." in page
    assert f"lowest charge 56.0\u00a0%; {note}" in page
    assert reserve_note(slots[9:], 0.7) == "the battery began at 56 %, below the reserve of 70 %"
    assert reserve_note(slots, 0.563) == (
        "the battery fell to 56.0 %, below the reserve of 56.3 %: by the bus load, not by inference"
    )


def test_nothing_is_said_of_a_reserve_that_was_kept_or_that_inference_broke(flight: ReplayReport) -> None:
    low = [replace(slot, charge_frac=0.56, reserve_violated=slot.slot == 9) for slot in flight.slots]
    assert reserve_note(low, 0.7) == reserve_note(low, 0.5) == reserve_note(low, None) == reserve_note((), 0.7) == ""


def test_notes_stand_before_the_first_drawing(flight: ReplayReport, page: str) -> None:
    assert all(0 < page.index(note.split("'")[0]) < page.index("<figure") for note in flight.notes)


def test_hostile_words_stay_words(flight: ReplayReport) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u2028"
    slot = replace(
        flight.slots[0], model=evil, mode=evil, cover=evil, reason=evil, overruled=evil, counterfactual=evil,
        limited_by=evil, energy_kind=evil,
    )  # fmt: skip
    finding = replace(flight.products[0], label=evil, truth=evil + "!", frame_id=evil, delivered=True)
    hostile = replace(
        flight, title=evil, scenario=evil, policy=evil, slots=(slot, *flight.slots[1:]), notes=(evil,), command=evil,
        products=(finding, *flight.products), versions={evil: evil}, stations=(Station(evil, 0.0, 0.0),),
        passes=(replace(flight.passes[0], station=evil),), summary={"energy_kind": evil},
        frames=(replace(flight.frames[0], title=evil, credit=evil), FrameView(evil, evil, evil)),
        packages=(replace(flight.packages[0], model=evil, package_id=evil, sha256=evil, energy_kind=evil),),
    )  # fmt: skip
    reader = read(render_report(hostile))
    assert reader.unbalanced == []
    assert [tag for tag, _ in reader.tags].count("script") == 4
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    assert "x" not in reader.values("src")
    assert json.loads(reader.text["script"][0])["slots"]["reason"][0] == evil


def test_a_slot_without_a_scored_tile_shows_a_dash_and_not_nan(flight: ReplayReport) -> None:
    blind = [
        replace(slot, accuracy_frac=math.nan, expected_accuracy_frac=math.nan, scored_sampled=0, correct_sampled=0)
        for slot in flight.slots
    ]
    page = render_report(replace(flight, slots=blind, summary={}, products=()))
    assert not re.search(r"\bnan\b", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL), re.IGNORECASE)
    assert "no answer was scored" in page


def test_a_flight_that_found_and_sent_nothing_says_so(flight: ReplayReport) -> None:
    page = render_report(replace(flight, products=(), passes=(), stations=(), frames=(), packages=(), summary={}))
    assert "Nothing was found" in page
    assert "nothing was sent" in page


def test_a_flight_cut_before_its_first_slot_still_gives_a_page(flight: ReplayReport) -> None:
    page = render_report(replace(flight, slots=(), products=(), passes=(), summary={}))
    assert "No slot was finished" in page
    assert read(page).unbalanced == []


def test_a_single_slot_is_enough(flight: ReplayReport) -> None:
    page = render_report(replace(flight, slots=flight.slots[:1], slot_s=None))
    assert read(page).unbalanced == []


def test_a_flight_cut_short_is_called_that(flight: ReplayReport) -> None:
    assert "cut short after 5 slots" in render_report(
        replace(flight, slots=flight.slots[:5], summary={"complete": False})
    )


def test_a_scenario_without_a_place_has_no_map(flight: ReplayReport) -> None:
    nowhere = GroundTrack(np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.bool_))
    slots = [replace(slot, latitude_deg=math.nan, longitude_deg=math.nan) for slot in flight.slots]
    page = render_report(replace(flight, track=nowhere, slots=slots))
    assert "no place on Earth" in page
    assert page.count('class="shadow"') == render_report(flight).count('class="shadow"')


def test_tiles_of_a_further_look_lie_in_the_scene_they_are_from(flight: ReplayReport, page: str) -> None:
    again = [replace(one, frame_id=f"{one.frame_id}@2") for one in flight.products]
    assert read(render_report(replace(flight, products=again))).values("points") == read(page).values("points")


def test_tiles_without_a_place_in_the_picture_are_laid_out_by_their_rings(flight: ReplayReport) -> None:
    bare = replace(flight.frames[0], width_px=0, height_px=0)
    page = render_report(replace(flight, frames=(bare,)))
    assert 'preserveAspectRatio="xMidYMid meet"' in page
    assert len(read(page).values("points")) == len({one.ring_deg for one in flight.products})


def test_a_budget_far_above_what_is_drawn_is_drawn_by_logarithm(flight: ReplayReport) -> None:
    rich = [replace(slot, budget_j=4e6) for slot in flight.slots]
    assert "Joules per slot (logarithmic)" in render_report(replace(flight, slots=rich))


def test_a_slot_start_that_is_no_time_is_refused(flight: ReplayReport) -> None:
    with pytest.raises(MissionError, match="ISO 8601"):
        render_report(replace(flight, slots=(replace(flight.slots[0], start_utc="noon"),)))


def test_a_wrong_answer_has_a_mark_that_needs_no_colour(flight: ReplayReport, page: str) -> None:
    last = {one.ring_deg: one for one in flight.products}
    wrong = sum(one.label != one.truth for one in last.values())
    assert page.count('<path class="cross"') == wrong > 0


def test_a_browser_runs_the_page_without_a_complaint(page: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a headless browser: install chromium")
    target = tmp_path / "report.html"
    target.write_text(page, encoding="utf-8")
    flags = (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-dev-shm-usage --enable-logging=stderr --dump-dom"
    )
    command = [chromium, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", target.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert [line for line in said if "source: chrome://" not in line] == []  # pages of the browser's own miss a network
    assert '<html lang="en" class="live">' in ran.stdout
    assert ">Slot 16</b>" in ran.stdout  # the one worth most
