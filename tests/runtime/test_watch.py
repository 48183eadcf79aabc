"""The live page: what is served, to whom, and that it follows a flight."""

from __future__ import annotations

import http.client
import json
import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.daemon.control import ControlServer
from runtime.errors import MissionError, StoreError
from runtime.records import Footprint, Product, SlotRecord
from runtime.report import render_report
from runtime.store import ProductStore
from runtime.watch import DaemonSource, PageServer, Source, StoreSource
from runtime.watch.choose import choose_source
from runtime.watch.scenery import Scene, Seen, report_of
from runtime.watch.sources import flown_in, slot_from, store_in

SLOT = SlotRecord(
    slot=0, start_utc="2026-03-19T21:36:00+00:00", latitude_deg=10.0, longitude_deg=20.0, cover="sea", sunlit_frac=1.0,
    charge_frac=0.9, budget_j=100.0, harvest_j=50.0, load_j=40.0, temperature_c=20.0, arrived_tile=100, queued_tile=0,
    model="resnet18", mode="", reason="it is worth it", overruled="", counterfactual="idle: 5 J less",
    limited_by="none", admitted_tile=100, sampled_tile=4, shed_tile=0, correct_sampled=0,
    scored_sampled=0, accuracy_frac=float("nan"),
    expected_accuracy_frac=0.9, energy_j=5.0, energy_kind="estimated", reward=1.0, pass_s=0.0, sent_byte=0,
    sent_product=0, backlog_product=1, infer_measured_s=0.1,
)  # fmt: skip


def slot(number: int) -> SlotRecord:
    minute = 36 + 3 * number
    start = f"2026-03-19T{21 + minute // 60}:{minute % 60:02d}:00+00:00"
    return replace(SLOT, slot=number, start_utc=start, latitude_deg=10.0 + 5 * number)


def product(number: int) -> Product:
    ring = ((2.0, 45.0), (2.1, 45.0), (2.1, 45.1), (2.0, 45.1), (2.0, 45.0))
    return Product(
        product_id=f"p{number}", slot=number, kind="label", label="Forest", score=0.9, value=0.8,
        footprint=Footprint(ring), captured_unix_s=1_773_956_160.0, frame_id="scene", row_px=0, col_px=0, edge_px=64,
        package_id="eurosat-resnet18", package_sha256="ab" * 32,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProductStore]:
    with ProductStore(tmp_path / "store.sqlite") as opened:
        for number in range(3):
            opened.commit_slot(slot(number), [], [product(number)])
        yield opened


@pytest.fixture
def source(store: ProductStore) -> StoreSource:
    return StoreSource(path=store.path, scene=Scene(title="watched"), last_slots=100)


@contextmanager
def serving(source: Source) -> Iterator[PageServer]:
    server = PageServer(source, 0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def get(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read().decode()
    finally:
        connection.close()


def test_the_page_is_the_report_with_a_policy_that_lets_it_ask_its_own_server_alone(source: StoreSource) -> None:
    with serving(source) as server:
        code, headers, page = get(server, "/")
    assert code == 200
    assert "watched" in page
    assert "it is worth it" in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_the_version_changes_with_every_slot(source: StoreSource, store: ProductStore) -> None:
    with serving(source) as server:
        before = json.loads(get(server, "/version")[2])
        assert json.loads(get(server, "/version")[2]) == before
        store.commit_slot(slot(3), [], [product(3)])
        after = json.loads(get(server, "/version")[2])
        assert after != before
        assert "Slot" in get(server, "/")[2]


def test_a_page_of_another_name_is_refused(source: StoreSource) -> None:
    with serving(source) as server:
        assert get(server, "/", Host="evil.example")[0] == 421
        assert get(server, "/", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_answered(source: StoreSource, method: str) -> None:
    with serving(source) as server:
        assert get(server, "/", method)[0] == 501


@pytest.mark.parametrize("path", ["/store.sqlite", "/../store.sqlite", "/version?x=1", "/%2e%2e/"])
def test_there_is_nothing_else_to_get(source: StoreSource, path: str) -> None:
    with serving(source) as server:
        assert get(server, path)[0] == 404


def test_watching_never_writes(source: StoreSource, store: ProductStore, tmp_path: Path) -> None:
    before = store.path.read_bytes()
    with serving(source) as server:
        get(server, "/")
        get(server, "/version")
    assert store.path.read_bytes() == before


def test_a_store_that_is_gone_is_said_and_not_crashed_on(tmp_path: Path) -> None:
    gone = StoreSource(path=tmp_path / "store.sqlite", scene=Scene(title="gone"), last_slots=10)
    with serving(gone) as server:
        code, _, text = get(server, "/version")
    assert code == 503
    assert "There is no store" in json.loads(text)["error"]


def test_only_the_newest_slots_are_shown(store: ProductStore) -> None:
    source = StoreSource(path=store.path, scene=Scene(title="short"), last_slots=2)
    report = source.report()
    assert [one.slot for one in report.slots] == [1, 2]
    assert [one.slot for one in report.products] == [1, 2]


def test_slots_off_the_scenarios_orbit_are_shown_where_they_say_they_are() -> None:
    from power_sim.scenario import load_scenario

    scene = Scene(title="x", scenario=load_scenario("cubesat-6u"))
    wrong = [replace(slot(number), latitude_deg=0.0) for number in range(20)]
    report = report_of(scene, Seen(slots=wrong))
    assert report.track.altitude_m is None
    assert report.stations == []
    assert list(report.track.latitude_deg) == [0.0] * 20


def test_passes_without_a_scenario_are_slots_with_contact_in_a_row() -> None:
    slots = [replace(slot(n), pass_s=60.0 if n in (1, 2, 4) else 0.0, sent_product=n) for n in range(6)]
    report = report_of(Scene(title="x"), Seen(slots=slots))
    assert [(one.sent_product, one.station) for one in report.passes] == [(3, "link"), (4, "link")]


def test_a_daemon_is_watched_through_its_socket_and_its_secrets_stay_there(store: ProductStore, tmp_path: Path) -> None:
    status = {
        "next_slot": 3, "state": "degraded", "reasons": ["the clock jumped"], "policy": "greedy", "pid": 4242,
        "events": ["key /root/secret.pem"], "queue": {"products": 3}, "charge": {"reserve_frac": 0.4},
    }  # fmt: skip
    server = ControlServer(tmp_path / "control.sock", "", lambda: status, store.path, queue.SimpleQueue())
    server.start()
    try:
        source = DaemonSource(socket=server.path, scene=Scene(title="aboard", simulated=False), last_slots=100)
        with serving(source) as page_server:
            page = get(page_server, "/")[2]
        report = source.report()
    finally:
        server.close()
    assert [one.slot for one in report.slots] == [0, 1, 2]
    assert report.reserve_frac == 0.4
    assert "the clock jumped" in page
    assert "policy greedy" in page
    assert "(simulated)" not in page
    assert "secret.pem" not in page
    assert "4242" not in page


def test_a_daemons_products_are_shown_where_its_store_may_be_read(store: ProductStore, tmp_path: Path) -> None:
    status = {"next_slot": 3, "state": "running", "reasons": [], "policy": "greedy", "queue": {}, "charge": {}}
    server = ControlServer(tmp_path / "control.sock", "", lambda: status, store.path, queue.SimpleQueue())
    server.start()
    try:
        scene = Scene(title="aboard", simulated=False)
        known = DaemonSource(socket=server.path, store=store.path, scene=scene, last_slots=100).report()
        blind = DaemonSource(socket=server.path, store=tmp_path / "none", scene=scene, last_slots=100).report()
    finally:
        server.close()
    assert [one.label for one in known.products] == ["Forest"] * 3
    assert list(blind.products) == []
    assert "made no product" not in render_report(blind)


def test_no_daemon_is_one_line(tmp_path: Path) -> None:
    source = DaemonSource(socket=tmp_path / "none.sock", scene=Scene(title="x"), last_slots=1)
    with pytest.raises(MissionError, match="no daemon answers"):
        source.version()


def test_an_answer_that_is_no_slot_is_refused() -> None:
    with pytest.raises(MissionError, match="same version"):
        slot_from("slot")


def test_a_folder_and_a_daemon_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match="one of the two"):
        choose_source(tmp_path, None, tmp_path / "x.sock", None, None, 10)


def test_a_folder_without_a_store_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Give the folder of a replay"):
        store_in(tmp_path)


def test_a_replay_that_is_still_flown_is_watched_without_its_summary(tmp_path: Path) -> None:
    assert flown_in(tmp_path, None).scenario is None
    (tmp_path / "summary.json").write_text('{"scenario": "cubesat-6u", "policy": "greedy", "seed": 7}')
    known = flown_in(tmp_path, None)
    assert known.scenario is not None
    assert (known.scenario.name, known.policy, known.seed) == ("cubesat-6u", "greedy", 7)


def test_a_taken_port_is_refused(source: StoreSource) -> None:
    with serving(source) as server, pytest.raises(MissionError, match="is taken"):
        PageServer(source, server.port)


def test_the_page_follows_the_flight_in_a_browser(source: StoreSource, store: ProductStore, repo: Path) -> None:
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location("subsolar_watch_browser", repo / "benchmarks" / "browser.py")
    assert spec is not None
    assert spec.loader is not None
    driver = importlib.util.module_from_spec(spec)
    sys.modules["subsolar_watch_browser"] = driver
    spec.loader.exec_module(driver)
    program = driver.chromium()
    if program is None or shutil.which(program) is None:
        pytest.skip("needs a headless browser: install chromium")
    with serving(source) as server, driver.Browser(program) as view:
        view.size(1280, 900)
        view.open(server.address)
        shown = "document.querySelector('#inspector [data-field=slot]')?.textContent"
        view.wait(f"{shown} === 'Slot 2'")
        store.commit_slot(slot(3), [], [product(3)])
        view.wait(f"{shown} === 'Slot 3'")
        view.key("ArrowLeft")
        view.wait(f"{shown} === 'Slot 2'")
        store.commit_slot(slot(4), [], [product(4)])
        view.wait("document.getElementById('slider').max === '4'")
        assert view.js(shown) == "Slot 2", "who looks back is left where he looks"
        assert view.js("document.querySelector('header .live-badge').textContent") == "live"
        assert view.complaints == []
        assert all(url.startswith((server.address, "data:", "about:")) for url in view.requests)
