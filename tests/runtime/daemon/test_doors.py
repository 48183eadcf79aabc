"""What stands open to others: the control socket under fire, metrics on loopback, meters with idle subtracted."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from runtime.cli import cli
from runtime.daemon.control import CLIENTS_MAX, MAX_REQUEST_BYTE
from runtime.daemon.metrics import Metrics, MetricsServer, limit_of
from runtime.daemon.rails import AboveIdle
from runtime.meters import Ina3221Meter
from runtime.status import table_of
from runtime.watch.sources import slot_from


def speak(path: Any, raw: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5.0)
        connection.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    return answer


def test_r23_the_control_socket_survives_whatever_is_written_to_it(craft: Any) -> None:
    path = craft.folder / "state" / "control.sock"
    rng = random.Random(23)
    for _ in range(200):
        kind = rng.randrange(4)
        if kind == 0:
            raw = rng.randbytes(rng.randrange(300)).replace(b"\n", b"") + b"\n"
        elif kind == 1:
            raw = b'{"do": ' + b"[" * rng.randrange(5000) + b"\n"
        elif kind == 2:
            raw = json.dumps({"do": "slots", "since": rng.choice([None, "x", [1], {}, 1e300, True])}).encode() + b"\n"
        else:
            raw = b"x" * rng.choice([MAX_REQUEST_BYTE, 3 * MAX_REQUEST_BYTE])
        for line in speak(path, raw).splitlines():
            assert isinstance(json.loads(line), dict)
    assert json.loads(speak(path, b'{"do": "status"}\n'))["state"] == "running"


def test_r23_more_clients_than_agreed_are_turned_away_and_the_daemon_goes_on(craft: Any) -> None:
    path = craft.folder / "state" / "control.sock"
    held = []
    for _ in range(CLIENTS_MAX + 8):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        held.append(connection)
    craft.fly()
    for connection in held:
        connection.close()
    for _ in range(100):
        answer = speak(path, b'{"do": "status"}\n')
        if answer:
            break
    assert json.loads(answer)["slot"]["slot"] == 0


def test_metrics_are_served_on_loopback_alone() -> None:
    metrics = Metrics()
    metrics.add("policy_overridden_total", limit='a"b\\c\nd')
    metrics.set("battery_charge_ratio", float("nan"))
    server = MetricsServer(0, metrics.text)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.request("GET", "/etc/passwd")
    missing = connection.getresponse()
    assert (missing.status, missing.read()) == (404, b"")
    connection.close()
    server.close()
    assert 'subsolar_policy_overridden_total{limit="a\\"b\\\\c\\nd"} 1' in text
    assert "subsolar_battery_charge_ratio NaN" in text


@pytest.mark.parametrize(
    ("overruled", "limit"),
    [
        ("x: accuracy 70.0% is below the floor", "accuracy"),
        ("x is unhealthy", "health"),
        ("asked for option 9", "answer"),
    ],
)
def test_an_overruled_decision_is_counted_by_its_limit(overruled: str, limit: str) -> None:
    assert limit_of(overruled) == limit


@dataclass
class Channel:
    """A rail that draws what it is told."""

    watt: float
    name: str = "VDD_IN"

    def power_w(self) -> float:
        return self.watt


def test_measured_joules_are_those_above_idle_and_never_fall() -> None:
    now, rail = [0.0], Channel(5.0)
    meter = AboveIdle(Ina3221Meter([rail], lambda: now[0]), 5.0, lambda: now[0])
    now[0] = 10.0
    assert meter.energy_j() == 0.0
    rail.watt = 15.0
    meter.energy_j()
    now[0] = 20.0
    assert meter.energy_j() == pytest.approx(100.0)
    rail.watt = 1.0
    meter.energy_j()
    now[0] = 30.0
    assert meter.energy_j() == pytest.approx(100.0)
    assert (meter.kind, meter.rails) == ("measured", ("VDD_IN",))


def test_the_status_is_a_screen_for_people_in_every_state(make_craft: Callable[..., Any]) -> None:
    craft = make_craft()
    assert "last slot  none yet" in table_of(craft.daemon.status)
    craft.image()
    craft.battery(0.5)
    craft.fly()
    text = table_of(craft.daemon.status)
    assert "!! " in text
    assert "accurate" in text
    result = CliRunner().invoke(cli, ["status", "--mission", str(craft.mission)])
    assert result.exit_code == 3
    assert "test-craft" in result.output
    assert json.loads(CliRunner().invoke(cli, ["status", "--mission", str(craft.mission), "--json"]).output)["pid"]


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def test_an_idle_slot_is_told_in_json_that_any_reader_takes(craft: Any) -> None:
    craft.fly()
    for asked in (b'{"do": "status"}\n', b'{"do": "slots", "since": 0}\n'):
        said = json.loads(speak(craft.folder / "state" / "control.sock", asked), parse_constant=refuse)
        slot = said["slot"] if "slot" in said else said["slots"][-1]
        assert slot["model"] == "idle"
        assert slot["accuracy_frac"] is None
        assert slot["expected_accuracy_frac"] is None
        assert math.isnan(slot_from(slot).accuracy_frac)
    result = CliRunner().invoke(cli, ["status", "--mission", str(craft.mission), "--json"])
    assert json.loads(result.output, parse_constant=refuse)["slot"]["accuracy_frac"] is None


def test_a_status_whose_charge_and_joules_nobody_knows_is_still_a_screen(craft: Any) -> None:
    craft.fly()
    said = json.loads(json.dumps(craft.daemon.status, default=str))
    said["charge"]["frac"] = said["slot"]["energy_j"] = None
    assert "battery    unknown" in table_of(said)
    assert "joules unknown" in table_of(said)
