"""The daemon from start to stop: frames in, answers kept and sent, status told, decisions flown again."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.package import Golden
from runtime.answers import reader_of
from runtime.daemon.control import Request, ask
from runtime.daemon.trace import fly_trace
from runtime.errors import LinkError, MissionError, StoreError
from runtime.ground.direct import DirectLink
from runtime.ground.station import opened
from runtime.infer import make_task
from runtime.onboard import LoadedNetwork
from runtime.status import table_of
from runtime.store import ProductStore
from runtime.wire.seal import Seal

from ..recorded import SquareFinder, package_of


def obey(craft: Any, do: str, **arguments: Any) -> dict[str, Any]:
    return dict(craft.daemon._obey(Request(do, arguments)))


def test_a_frame_in_the_inbox_becomes_answers_that_go_down_in_a_pass(craft: Any) -> None:
    craft.image(rows=64, cols=48)
    craft.fly()
    assert craft.slot()["model"] == "accurate"
    assert craft.slot()["admitted_tile"] == 12
    assert craft.daemon.status["queue"]["products"] == 12
    assert list((craft.folder / "inbox").iterdir()) == []
    obey(craft, "pass", what="start")
    craft.fly()
    assert craft.slot()["sent_product"] == 12
    assert len(list((craft.folder / "outbox").glob("*.packet"))) > 1
    assert list((craft.folder / "state" / "frames").iterdir()) == []


def test_an_object_on_a_border_of_tiles_is_one_product(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(change=('cover = "land"', 'cover = "land"\noverlap_px = 8'))
    for one in craft.daemon.wired.fleet.networks.values():
        package = package_of(one.loaded.package, "boxes", ("ship",))
        engine = SquareFinder()
        one.loaded = LoadedNetwork(package=package, engine=engine, reader=reader_of(make_task(package, engine)))
    craft.image(rows=32, cols=32, squares=((12, 12, 19, 18), (2, 2, 6, 6)), place=(9.0, 47.8))
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 9
    products = craft.daemon._aboard.store.products()
    corners = sorted(min(one.footprint.ring_deg) for one in products)
    assert [(round(lon, 5), round(lat, 5)) for lon, lat in corners] == [(9.0002, 47.7994), (9.0012, 47.7982)]


def test_an_overlap_as_wide_as_a_tile_is_refused(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(change=('cover = "land"', 'cover = "land"\noverlap_px = 16'), start=False)
    with pytest.raises(MissionError, match="overlap_px = 16"):
        craft.start()


def test_pictures_of_the_best_answers_wait_for_what_a_pass_has_left(make_craft: Callable[..., Any]) -> None:
    craft = make_craft("[downlink]\npictures_per_slot = 2\n")
    craft.image(rows=64, cols=48)
    craft.fly()
    pictures = craft.folder / "state" / "pictures"
    assert len(list(pictures.glob("*-chip.png"))) == 2
    craft.stop()
    craft.start()
    assert len(craft.daemon._aboard.files.outgoing()) == 2
    obey(craft, "pass", what="start")
    with opened(craft.folder / "station") as (_, receiver):
        craft.daemon.wired.radio._link = DirectLink(receiver)
        craft.fly()
        craft.daemon.wired.radio.close()
    assert craft.daemon.wired.radio.last.delivered_file == 2
    assert list(pictures.iterdir()) == []
    assert len(list((craft.folder / "station" / "files" / "pictures").glob("*-chip.png"))) == 2


def test_a_craft_with_a_key_believes_only_the_station_that_holds_it(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(
        "[downlink]\npictures_per_slot = 0\n", change=("[radio]", '[radio]\nkey_file = "radio.key"'), start=False
    )
    with pytest.raises(LinkError, match="Cannot read the key"):
        craft.start()
    (craft.folder / "radio.key").write_text("5a" * 32)
    craft.start()
    craft.image(rows=64, cols=48)
    craft.fly()
    waiting = craft.daemon._aboard.store.backlog()[0]
    assert waiting > 0
    obey(craft, "pass", what="start")
    for seal, delivered in ((None, 0), (Seal.from_file(craft.folder / "radio.key"), waiting)):
        with opened(craft.folder / f"station-{delivered}", seal) as (_, receiver):
            craft.daemon.wired.radio._link = DirectLink(receiver)
            craft.fly()
            craft.daemon.wired.radio.close()
        assert craft.daemon._aboard.store.counts().delivered_product == delivered


def test_a_detector_flies_and_sends_each_object_with_its_outline(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(start=False)
    tiles = np.random.default_rng(5).integers(0, 256, (3, 3, craft.edge_px, craft.edge_px), dtype=np.uint8)
    for name in ("thrifty", "accurate"):
        craft.package(
            craft.folder / "packages" / name,
            name,
            craft.key,
            onnx=craft.colours.spot_graph(craft.edge_px),
            golden=Golden(tiles, craft.colours.spot_answers(tiles), 1e-5),
            info=craft.colours.spot_info(craft.edge_px),
        )
    craft.start()
    craft.image(rows=64, cols=48, fill=(200, 0, 0), place=(9.0, 47.8))
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 12
    products = craft.daemon._aboard.store.products()
    assert {(one.kind, one.label, one.edge_px) for one in products} == {("geometry", "red", 12)}
    rings = {one.footprint.ring_deg for one in products}
    assert len(rings) == len(products) == 12
    lons = [lon for ring in rings for lon, _ in ring]
    assert 8.99 < min(lons) < max(lons) < 9.02


def test_a_frame_that_comes_again_is_known_by_its_content(craft: Any) -> None:
    craft.image("one.tif")
    craft.fly()
    craft.image("two.tif")
    (craft.folder / "inbox" / "broken.tif").write_bytes(b"II*\0 no image")
    (craft.folder / "inbox" / "growing.part").write_bytes(b"half")
    craft.fly()
    counts = craft.daemon.status["counts"]
    assert (counts["arrived_frame"], counts["duplicate_frame"], counts["refused_frame"]) == (1, 1, 1)
    assert f"1 frame refused, see {craft.folder / 'state' / 'log.jsonl'}" in table_of(craft.daemon.status)
    assert [path.name for path in (craft.folder / "inbox").iterdir()] == ["growing.part"]


def test_every_tile_ends_once_also_where_the_queue_is_full(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(change=("queue_max_tile = 1000", "queue_max_tile = 5"))
    obey(craft, "pause")
    craft.image("a.tif", seed=1)
    craft.image("b.tif", seed=2)
    craft.fly()
    assert craft.slot()["model"] == "idle"
    obey(craft, "resume")
    craft.fly(2)
    counts = craft.daemon.status["counts"]
    assert (counts["arrived_tile"], counts["shed_tile"], counts["done_tile"]) == (32, 27, 5)


def test_r30_a_recorded_flight_decides_alike_when_it_is_flown_again(craft: Any) -> None:
    for slot in range(30):
        if slot % 3 == 0:
            craft.image(f"{slot}.tif", seed=slot)
        craft.battery(0.95 - 0.008 * slot)
        craft.fly()
        if slot == 12:
            obey(craft, "pass", what="start")
        if slot == 14:
            obey(craft, "pass", what="stop")
        if slot == 20:
            obey(craft, "reload")
    trace = craft.folder / "state" / "trace.jsonl"
    models = {json.loads(line)["decided"]["model"] for line in trace.read_text().splitlines() if '"slot"' in line[:20]}
    result = fly_trace(trace)
    assert (result.slots, result.missions, result.differences) == (30, 2, ())
    assert len(models) > 1


def test_a_trace_whose_readings_were_changed_is_told_apart(craft: Any) -> None:
    craft.image()
    craft.fly(3)
    trace = craft.folder / "state" / "trace.jsonl"
    changed = trace.with_name("changed.jsonl")
    changed.write_text(trace.read_text().replace('"charge_j":9', '"charge_j":8'))
    assert not fly_trace(changed).complete
    changed.write_text('{"kind":"slot"}\n')
    with pytest.raises(MissionError, match="no decision trace"):
        fly_trace(changed)


def test_status_is_answered_over_a_socket_that_only_its_owner_may_use(craft: Any) -> None:
    craft.image()
    craft.fly()
    socket = craft.folder / "state" / "control.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    status = ask(socket, {"do": "status"})
    assert status["state"] == "running"
    assert status["slot"]["slot"] == 0
    assert "test-craft  RUNNING" in table_of(status)
    assert [row["slot"] for row in ask(socket, {"do": "slots", "since": 0})["slots"]] == [0]
    assert json.dumps(status)


def test_times_in_the_status_are_of_the_moment_and_counts_are_those_after_the_slot(craft: Any) -> None:
    craft.image()
    craft.daemon.fly_slot()
    socket = craft.folder / "state" / "control.sock"
    first = ask(socket, {"do": "status"})
    craft.clock.pass_s(50.0)
    then = ask(socket, {"do": "status"})
    assert first["counts"]["done_tile"] == 16
    assert first["queue"]["tile"] == 0
    assert first["next_slot_in_s"] - then["next_slot_in_s"] == pytest.approx(50.0)
    assert then["uptime_s"] - first["uptime_s"] == pytest.approx(50.0)
    assert then["unix_s"] - first["unix_s"] == pytest.approx(50.0)
    assert first["forecast"]["pass_in_s"] - then["forecast"]["pass_in_s"] == pytest.approx(50.0)
    assert "so far     16 tiles done" in table_of(then)
    assert "queue      0 tiles, 16 products" in table_of(then)


def test_tiles_of_a_slot_that_was_paused_wait_also_after_a_start(craft: Any) -> None:
    obey(craft, "pause")
    craft.image()
    craft.fly()
    assert craft.daemon.status["queue"]["tile"] == 16
    craft.stop()
    craft.start()
    assert craft.daemon.status["queue"]["tile"] == 16


def test_commands_wait_for_the_loop_and_strange_requests_are_refused(craft: Any) -> None:
    socket = craft.folder / "state" / "control.sock"
    said: list[object] = []

    def talk() -> None:
        try:
            for asked in (
                {"do": "pause"},
                {"do": "resume"},
                {"do": "explode"},
                {"do": "pass", "what": "up"},
                {"un": 1},
            ):
                try:
                    said.append(ask(socket, asked, timeout_s=10.0))
                except MissionError as error:  # noqa: PERF203  each answer on its own
                    said.append(str(error))
        finally:
            craft.daemon.stop()

    talker = threading.Thread(target=talk)
    talker.start()
    craft.daemon.run()
    talker.join()
    assert said[:2] == [{"paused": True}, {"paused": False}]
    for words, answer in zip(("no command", "start, stop or auto", "one line"), said[2:], strict=True):
        assert words in str(answer)
    craft.stop()
    with pytest.raises(MissionError, match="no daemon answers"):
        ask(socket, {"do": "status"})


def test_a_daemon_goes_on_where_the_last_one_stopped(make_craft: Callable[..., Any]) -> None:
    craft = make_craft()
    obey(craft, "pause")
    craft.image()
    craft.fly(2)
    craft.stop()
    craft.start()
    craft.fly()
    assert craft.slot()["slot"] == 2
    assert craft.slot()["queued_tile"] == 16
    assert craft.daemon.status["counts"]["done_tile"] == 16


def test_one_state_folder_serves_one_daemon(craft: Any) -> None:
    with pytest.raises(MissionError, match="another daemon uses"):
        craft.start()


def test_r04_a_state_folder_that_cannot_be_made_is_one_clear_line(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(change=('state = "state"', 'state = "eps.txt/state"'), start=False)
    with pytest.raises(StoreError, match=r"mission\.state"):
        craft.start()


class Stopping:
    """A network during whose first batch the service manager asks for the end."""

    def __init__(self, network: Any, daemon: Any) -> None:
        self.network, self.daemon = network, daemon

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def answer(self, *arguments: Any) -> Any:
        self.daemon.stop()
        return self.network.answer(*arguments)


def test_a_stop_in_the_middle_of_a_slot_keeps_what_is_done_and_leaves_the_rest_waiting(
    make_craft: Callable[..., Any],
) -> None:
    craft = make_craft(change=('keys = "keys"', 'keys = "keys"\nbatch_tile = 4'))
    for one in craft.daemon.wired.fleet.networks.values():
        one.loaded = Stopping(one.loaded, craft.daemon)
    craft.image()
    craft.daemon.run()
    assert craft.daemon.status["counts"]["done_tile"] == 4
    craft.stop()
    craft.start()
    craft.fly()
    assert craft.slot()["queued_tile"] == 12
    assert craft.daemon.status["counts"]["done_tile"] == 16


def test_r12_a_reload_takes_a_good_file_and_keeps_the_last_good_one(craft: Any) -> None:
    craft.image()
    craft.fly()
    good = craft.mission.read_text()
    craft.mission.write_text(good.replace('name = "greedy"', 'name = "threshold"'))
    craft.daemon.reload()
    craft.daemon._due_s = craft.clock.now_s
    craft.daemon._wait()
    assert craft.daemon.wired.loop.policy.name == "threshold"
    for bad, word in (
        ("nonsense = 1\n" + good, "nonsense"),
        (good.replace("0.7", "70"), "reserve_frac"),
        ("[", "TOML"),
    ):
        craft.mission.write_text(bad)
        assert word in obey(craft, "reload")["error"]
        craft.fly()
        assert craft.daemon.wired.loop.policy.name == "threshold"
        assert craft.daemon.status["state"] == "degraded"
        assert "reload refused" in " ".join(craft.daemon.status["reasons"])
    craft.mission.write_text(good)
    assert "error" not in obey(craft, "reload")
    craft.mission.write_text("[")
    craft.daemon.reload()
    craft.daemon._due_s = craft.clock.now_s
    craft.daemon._wait()
    assert "reload refused" in " ".join(craft.daemon.status["reasons"]), "told at once, not after the next slot"
    craft.mission.write_text(good.replace('state = "state"', 'state = "other"'))
    assert "takes a restart" in obey(craft, "reload")["error"]


def test_r03_a_disk_that_refuses_costs_a_slot_and_no_tile(craft: Any) -> None:
    from runtime.faults import arm, disarm

    craft.image()
    arm("store.commit.before_fsync", "enospc")
    try:
        craft.fly()
    finally:
        disarm()
    assert craft.daemon.status["state"] == "degraded"
    assert "disk is full" in craft.daemon.status["reasons"][0].lower() or "space" in craft.daemon.status["reasons"][0]
    craft.battery(0.951)
    craft.fly()
    assert craft.daemon.status["state"] == "running"
    assert craft.daemon.status["counts"]["done_tile"] == 16


def test_a_late_loop_drops_slots_and_counts_them(craft: Any) -> None:
    craft.fly()
    craft.clock.pass_s(180.0 * 3.5)
    craft.daemon.fly_slot()
    assert craft.daemon.status["counts"]["missed_slot"] == 2


def test_metrics_have_the_names_that_were_agreed(make_craft: Callable[..., Any]) -> None:
    craft = make_craft('[reports]\nmetrics_file = "subsolar.prom"\n')
    craft.image()
    craft.fly()
    text = (craft.folder / "subsolar.prom").read_text()
    for line in (
        'subsolar_tiles_total{model="accurate",result="done"} 16',
        'subsolar_energy_joules_total{kind="estimated",rail="profile"} 0.064',
        "subsolar_battery_charge_ratio 0.95",
        'subsolar_queue_products{priority="all"} 16',
        'subsolar_tile_seconds_bucket{model="accurate",le="+Inf"} 1',
        "# TYPE subsolar_tile_seconds histogram",
    ):
        assert line in text


def test_the_log_says_in_json_what_happened(craft: Any) -> None:
    craft.image()
    craft.fly()
    lines = [json.loads(line) for line in (craft.folder / "state" / "log.jsonl").read_text().splitlines()]
    assert any("taken on: 16 tiles" in line["text"] for line in lines)
    assert {line["level"] for line in lines} <= {"info", "warning"}


def test_the_store_of_a_running_daemon_can_be_read(craft: Any) -> None:
    craft.image()
    craft.fly()
    path: Path = craft.folder / "state" / "products.sqlite"
    store = ProductStore.open_readonly(path)
    assert len(store.products()) == 16
    store.close()
