"""A flight on bad days: clocks that jump, elements that age, policies that go mad, batteries that lie, heat, hangs."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from policies.decision import Decision
from power_sim.leg import leg_from
from power_sim.scenario import load_scenario
from power_sim.slot import SlotState
from runtime.daemon.control import Request
from runtime.daemon.forecast import Forecaster
from runtime.daemon.notify import Notifier
from runtime.daemon.trace import fly_trace
from runtime.daemon.world import Cautious
from runtime.engines import Vendor

TLE = (
    "1 25544U 98067A   23289.50000000  .00016717  00000-0  30000-3 0  9993",
    "2 25544  51.6400 100.0000 0005000  50.0000 310.0000 15.50000000420003",
)


def reasons(craft: Any) -> str:
    return " | ".join(craft.daemon.status["reasons"])


@pytest.mark.parametrize("jump_s", [3.2e8, -3.2e8, 3600.0, -1.0e5])
def test_r15_a_clock_that_jumps_changes_no_duration_and_starts_a_new_forecast(craft: Any, jump_s: float) -> None:
    craft.image()
    craft.fly(2)
    before = craft.clock.now_s
    craft.clock.utc_s += jump_s
    craft.battery(0.95)
    craft.fly(2)
    status = craft.daemon.status
    assert status["clock_jumps"] == 1
    assert "the clock has jumped" in reasons(craft)
    assert status["slot"]["slot"] == 3
    assert craft.clock.now_s - before == 360.0
    assert "missed_slot" not in status["counts"]
    craft.battery(0.95)
    craft.fly(3)
    assert "jumped" not in reasons(craft)
    assert fly_trace(craft.folder / "state" / "trace.jsonl").complete


def tle_mission(make_craft: Callable[..., Any], tle: tuple[str, str] = TLE) -> Any:
    orbit = f'kind = "tle"\ntle = {json.dumps(list(tle))}'
    return make_craft(change=('kind = "sgp4"', orbit), start=False)


def checksummed(line: str) -> str:
    return line[:68] + str(sum(int(c) if c.isdigit() else c == "-" for c in line[:68]) % 10)


def test_r15_old_elements_are_stale_and_very_old_ones_leave_a_careful_flight_without_forecast(
    make_craft: Callable[..., Any],
) -> None:
    craft = tle_mission(make_craft, (checksummed(TLE[0]), checksummed(TLE[1])))
    epoch_s = 1_697_457_600.0  # day 289.5 of 2023
    for age_days, quality in ((1.0, "fresh"), (45.0, "stale"), (400.0, "blind"), (-4000.0, "blind")):
        craft.clock.utc_s = epoch_s + age_days * 86_400
        craft.battery(0.95)
        craft.start()
        craft.image(f"{age_days}.tif", seed=int(age_days + 5000))
        craft.fly(2)
        status = craft.daemon.status
        assert status["forecast"]["quality"] == quality
        assert abs(status["forecast"]["tle_age_days"] - age_days) < 0.1
        if quality != "fresh":
            assert status["state"] == "degraded"
            assert craft.daemon.wired.world.readings.margin_j == pytest.approx(
                2 * 0.03 * 28 * 3600 * 0.3 if quality != "fresh" else 0, rel=1e-6
            )
            assert "careful" in status["slot"]["reason"]
        craft.stop()
    assert fly_trace(craft.folder / "state" / "trace.jsonl").complete


def test_r15_a_forecaster_answers_any_moment() -> None:
    forecaster = Forecaster(load_scenario("cubesat-6u"))
    for moment in (0.0, -1e12, 1e15, float("nan"), float("inf"), 1.8e9):
        assert forecaster.ahead(moment).leg.slots > 48


def test_a_forecast_always_reaches_two_orbits_ahead() -> None:
    scenario = load_scenario("cubesat-6u")
    forecaster, start_s = Forecaster(scenario), 1_772_400_000.0
    for slot in range(200):
        ahead = forecaster.ahead(start_s + 180.0 * slot)
        assert (ahead.leg.slots - ahead.at) * 180.0 >= 2 * 5668
        assert ahead.leg.start_unix_s + 180.0 * ahead.at == pytest.approx(start_s + 180.0 * slot)
    assert leg_from(scenario, start_s, 10).slots == 10


@dataclass
class Mad:
    """Asks for what is not there, or raises."""

    answer: Any
    name: str = "mad"

    def decide(self, state: SlotState) -> Decision:
        if isinstance(self.answer, Exception):
            raise self.answer
        return Decision(self.answer, "x", "x", "because")


@pytest.mark.parametrize("answer", [99, -1, float("nan"), ValueError("broken"), "costliest"])
def test_r16_a_policy_gone_mad_is_overruled_and_then_not_asked(craft: Any, answer: Any) -> None:
    policy = craft.daemon.wired.loop.policy
    assert isinstance(policy, Cautious)
    object.__setattr__(policy, "own", Mad(answer))
    for slot in range(14):
        craft.image(f"{slot}.tif", seed=slot)
        craft.battery(0.95)
        craft.fly()
        assert not craft.slot()["reserve_violated"]
    assert craft.daemon.status["counts"]["done_tile"] == 14 * 16
    assert "the policy was overruled" in reasons(craft)
    assert "careful" in craft.slot()["reason"]


def test_r17_a_sensor_that_jumps_doubles_the_margin_and_is_told(craft: Any) -> None:
    craft.fly()
    margin_j = craft.daemon.wired.world.readings.margin_j
    craft.battery(0.55)
    craft.fly()
    assert craft.daemon.wired.world.readings.margin_j == pytest.approx(2 * margin_j)
    assert "the charge reads 55.0%" in reasons(craft)
    craft.battery(text="charge_frac=nonsense")
    craft.fly()
    assert craft.daemon.status["state"] == "degraded"


def test_r18_on_an_empty_battery_nothing_is_inferred_and_telemetry_goes_on(craft: Any) -> None:
    frac = 0.95
    steps = []
    for slot in range(24):
        craft.image(f"{slot}.tif", seed=slot)
        craft.battery(frac)
        craft.fly()
        steps.append(craft.daemon.status["ladder"])
        frac -= 0.014
    assert list(dict.fromkeys(steps)) == ["normal", "checkpoint", "shed", "safe"]
    assert craft.daemon.status["state"] == "safe"
    craft.daemon._obey(Request("pass", {"what": "start"}))
    before = sum(path.stat().st_size for path in (craft.folder / "outbox").glob("*.packet"))
    craft.battery(frac)
    craft.fly()
    assert craft.slot()["model"] == "idle"
    sent = sum(path.stat().st_size for path in (craft.folder / "outbox").glob("*.packet")) - before
    assert 0 < sent <= 4096
    craft.daemon._obey(Request("pass", {"what": "stop"}))
    for slot in range(60):
        frac = min(frac + 0.02, 0.99 - 0.001 * (slot % 3))
        craft.battery(frac)
        craft.fly()
    assert craft.daemon.status["ladder"] == "normal"
    assert craft.slot()["queued_tile"] == 0


@dataclass
class Slow:
    """A network on a machine whose clock fell."""

    network: Any
    clock: Any
    tile_s: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def answer(self, tiles: Any, view: Any) -> Any:
        self.clock.pass_s(self.tile_s * len(tiles))
        return self.network.answer(tiles, view)


def test_r19_a_machine_that_slows_down_keeps_its_deadline_and_learns_within_three_slots(
    make_craft: Callable[..., Any],
) -> None:
    craft = make_craft(change=("[source]", "[mission2]\n[source]"), start=False)
    text = (
        craft.mission.read_text().replace("[mission2]\n", "").replace('keys = "keys"', 'keys = "keys"\nbatch_tile = 4')
    )
    craft.mission.write_text(text.replace("queue_max_tile = 1000", "queue_max_tile = 100000"))
    craft.start()
    networks = craft.daemon.wired.fleet.networks
    for one in networks.values():
        one.loaded = Slow(one.loaded, craft.clock, 1.0)
    for slot in range(8):
        if slot == 4:
            for one in networks.values():
                one.loaded.tile_s = 3.0
        craft.image(f"{slot}.tif", rows=160, cols=160, seed=slot)
        craft.battery(0.95)
        began_s = craft.clock.now_s
        craft.daemon.fly_slot()
        assert craft.clock.now_s - began_s <= 0.9 * 180.0 + 4 * 3.0
        craft.clock.pass_s(max(180.0 - (craft.clock.now_s - began_s), 0.0))
    flown = networks[craft.slot()["model"]]
    assert flown.tile_s == pytest.approx(3.0, rel=0.15)
    counts = craft.daemon.status["counts"]
    waiting = craft.daemon.status["queue"]["tile"]
    assert "missed_slot" not in counts
    assert counts["done_tile"] > 300
    assert waiting > 0


def test_heat_bars_what_would_pass_the_limit(craft: Any) -> None:
    craft.image()
    craft.battery(text="charge_frac=0.95 temperature_c=86")
    craft.fly()
    assert craft.slot()["model"] == "idle"
    assert craft.slot()["temperature_c"] == pytest.approx(86.0)


def test_r11_the_watchdog_hears_of_progress_alone(make_craft: Callable[..., Any], tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "n"))
    listener.setblocking(False)
    environment = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "30000000"}
    craft = make_craft(start=False)
    daemon = craft.start(environment)

    def heard() -> list[str]:
        words = []
        while True:
            try:
                words.append(listener.recv(4096).decode())
            except BlockingIOError:  # noqa: PERF203  it ends the loop
                return words

    for _ in range(6):
        craft.clock.pass_s(10.0)
        daemon.running()
    assert sum("WATCHDOG=1" in word for word in heard()) == 6
    craft.clock.pass_s(300.0)  # the loop hangs: threads that answer status do not ping
    assert daemon.status["state"] == "running"
    assert heard() == []
    daemon.commands.put(Request("pause", {}))
    daemon.stopping.set()
    daemon.run()
    words = heard()
    assert words[0].startswith("READY=1")
    assert words[-1] == "STOPPING=1"
    listener.close()


def test_a_notifier_without_a_manager_is_silent_and_another_process_is_not_watched() -> None:
    clock = lambda: 0.0  # noqa: E731
    assert Notifier.from_environment({"WATCHDOG_PID": "1", "WATCHDOG_USEC": "5"}, 2, clock).watchdog_s == 0
    Notifier("", 1.0, clock).ready("nobody hears this")
    Notifier("/nowhere", 1.0, clock).stopping()


def test_a_link_that_breaks_costs_the_pass_alone(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(change=('kind = "folder"', 'kind = "udp"\naddress = "no.such.host.invalid:1"'))
    craft.image()
    craft.daemon._obey(Request("pass", {"what": "start"}))
    craft.fly(2)
    assert craft.daemon.status["state"] == "degraded"
    assert craft.daemon.status["counts"]["done_tile"] == 16


_spec = importlib.util.spec_from_file_location(
    "fake_tensorrt", Path(__file__).parents[2] / "exporters" / "fake_tensorrt.py"
)
assert _spec is not None
assert _spec.loader is not None
fake: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)

LAND, SEA = (9.0, 47.8), (-30.0, 40.0)
OMM = """[orbit]
kind = "omm"
slot_s = 180.0

[orbit.omm]
OBJECT_NAME = "CRAFT"
OBJECT_ID = "2026-001A"
EPOCH = "2026-02-27T00:00:00"
MEAN_MOTION = "15.2"
ECCENTRICITY = "0.001"
INCLINATION = "97.4"
RA_OF_ASC_NODE = "30.0"
ARG_OF_PERICENTER = "0.0"
MEAN_ANOMALY = "0.0"
EPHEMERIS_TYPE = "0"
CLASSIFICATION_TYPE = "U"
NORAD_CAT_ID = "99999"
ELEMENT_SET_NO = "1"
REV_AT_EPOCH = "1"
BSTAR = "0.0001"
MEAN_MOTION_DOT = "0.0"
MEAN_MOTION_DDOT = "0.0"

"""


@pytest.mark.parametrize("limit", ["tiles", "frames"])
def test_r14_under_overload_what_is_worth_least_is_shed_first_and_of_that_the_oldest(
    make_craft: Callable[..., Any], limit: str
) -> None:
    craft = make_craft(start=False)
    text = craft.mission.read_text().replace("value = 0.5\nqueue = false", "value = 0.5")
    if limit == "tiles":
        text = text.replace("queue_max_tile = 1000", "queue_max_tile = 48")
    else:
        text = text.replace('cover = "land"', 'cover = "land"\nframes_max = 3')
    craft.mission.write_text(text)
    craft.start()
    craft.daemon._aboard.orders.paused = True
    for number, place in enumerate((SEA, LAND, SEA, SEA, LAND)):
        craft.image(f"{number}.tif", seed=number, place=place)
        craft.fly()
    waiting = [frame.frame_id[0] for frame in craft.daemon._aboard.intake.ledger.waiting() if frame.left_tile]
    craft.fly()
    counts = craft.daemon.status["counts"]
    kept = [frame.frame_id[0] for frame in craft.daemon._aboard.intake.ledger.waiting()]
    assert kept == ["1", "3", "4"], waiting
    assert (counts["arrived_tile"], counts["shed_tile"], counts["done_tile"]) == (80, 32, 0)
    craft.daemon._aboard.orders.paused = False
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 48


def test_a_flight_with_an_orbit_mean_elements_message_tells_its_age(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(start=False)
    text = craft.mission.read_text()
    begin, end = text.index("[orbit]"), text.index("[power]")
    craft.mission.write_text(text[:begin] + OMM + text[end:])
    craft.start()
    forecaster = craft.daemon.wired.world.forecaster
    assert forecaster.age_days(craft.clock.utc_s) == pytest.approx(2.0)
    craft.fly()
    assert craft.daemon.status["state"] == "running"
    craft.clock.utc_s += 30 * 86_400.0
    craft.battery(0.95)
    craft.fly()
    assert "days old" in reasons(craft)


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_r09_r10_an_engine_that_hangs_or_dies_is_started_anew_and_its_tiles_are_tried_again(
    make_craft: Callable[..., Any], blow: signal.Signals
) -> None:
    craft = make_craft(change=('keys = "keys"', 'keys = "keys"\nworker = true\nworker_s = 1.0'), start=False)
    shutil.rmtree(craft.folder / "packages" / "thrifty")
    craft.start()
    worker = craft.daemon.wired.fleet.networks["accurate"].loaded.engine._serving.active._engine
    os.kill(worker.process_id, blow)
    craft.image()
    craft.fly()
    counts = craft.daemon.status["counts"]
    assert (counts["done_tile"], counts["failed_tile"]) == (16, 0)
    assert "its worker hung or died 1 times" in craft.events()
    pid = worker.process_id
    craft.stop()
    assert not Path(f"/proc/{pid}").exists()


def test_a_mission_whose_networks_do_not_fit_into_its_memory_flies_with_those_that_do(
    make_craft: Callable[..., Any],
) -> None:
    craft = make_craft(change=('keys = "keys"', 'keys = "keys"\nmemory_mib = 10'))
    assert set(craft.daemon.wired.fleet.networks) == {"thrifty"}
    assert "MiB are left" in reasons(craft)
    craft.image()
    craft.fly()
    assert craft.slot()["model"] == "thrifty"


def test_r06_in_flight_a_plan_is_built_while_the_fallback_serves(make_craft: Callable[..., Any]) -> None:
    cuda = fake.FakeCuda()
    craft = make_craft(change=('keys = "keys"', 'keys = "keys"\nproviders = ["tensorrt-native", "cpu"]'), start=False)
    craft.start(vendor=Vendor(lambda: fake.FakeTensorRt(cuda), lambda: cuda))
    assert "cpu serves while it is built anew" in craft.events()
    craft.image("one.tif", seed=1)
    craft.fly()
    engine = craft.daemon.wired.fleet.networks["accurate"].loaded.engine
    engine.building.join(60)
    craft.image("two.tif", seed=2)
    craft.fly()
    assert engine.provider == "tensorrt"
    assert "accurate v1 runs on tensorrt now" in craft.events()
    assert craft.daemon.status["counts"]["done_tile"] == 32
