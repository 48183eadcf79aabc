"""Where charge and temperature are read, with files and sockets that are really there."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.daemon.supply import EpsSupply, FileSupply, ModelSupply, PowerSupply, SupplyReading, parse, uncan


def test_a_file_says_charge_and_temperature_until_it_is_old(tmp_path: Path) -> None:
    file = tmp_path / "supply.txt"
    supply = FileSupply(file, 60.0, lambda: file.stat().st_mtime + 30.0)
    assert "cannot be read" in FileSupply(tmp_path / "none", 60.0, lambda: 0.0).read().problem
    file.write_text("charge_frac = 0.81\n")
    assert supply.read().problem
    file.write_text("charge_frac=0.81\ntemperature_c=-3.5\nmode=sun\n")
    assert (supply.read().charge_frac, supply.read().temperature_c) == (0.81, -3.5)
    file.write_text('{"charge_frac": 0.5, "solar_w": null}')
    assert supply.read().charge_frac == 0.5
    late = FileSupply(file, 60.0, lambda: file.stat().st_mtime + 61.0)
    assert "61 s old" in late.read().problem


def test_the_kernel_s_battery_says_energy_charge_or_percent(tmp_path: Path) -> None:
    assert "capacity" in PowerSupply(tmp_path).read().problem
    (tmp_path / "capacity").write_text("87\n")
    assert PowerSupply(tmp_path).read().charge_frac == 0.87
    (tmp_path / "charge_now").write_text("1500000\n")
    (tmp_path / "charge_full").write_text("2000000\n")
    assert PowerSupply(tmp_path).read().charge_frac == 0.75
    (tmp_path / "energy_now").write_text("36000000\n")
    (tmp_path / "energy_full").write_text("40000000\n")
    assert PowerSupply(tmp_path).read().charge_frac == 0.9


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_an_eps_answers_a_question_with_one_line(tmp_path: Path, family: str) -> None:
    listener = socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET)
    listener.bind(str(tmp_path / "eps") if family == "unix" else ("127.0.0.1", 0))
    listener.listen(1)
    address = str(tmp_path / "eps") if family == "unix" else f"127.0.0.1:{listener.getsockname()[1]}"

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(16) == b"GET\n"
            connection.sendall(b"charge_frac=0.64 temperature_c=21\n")

    thread = threading.Thread(target=serve)
    thread.start()
    assert EpsSupply(address).read() == SupplyReading(charge_frac=0.64, temperature_c=21.0)
    thread.join()
    listener.close()
    assert "does not answer" in EpsSupply(address, timeout_s=0.1).read().problem


def test_can_frames_are_read_by_the_mission_s_table() -> None:
    table = {"1A0": "charge_frac:0:2:0.0001", "1A1": "temperature_c:1:1:0.5"}
    text = "(1700000000.1) can0 1A0#1F40 can0 1A1#FF2A can0 3FF#00 can0 1A0#1F4"
    assert parse(uncan(text, table)) == SupplyReading(charge_frac=0.8, temperature_c=21.0)


def test_no_sensor_is_no_problem() -> None:
    assert ModelSupply().read() == SupplyReading()


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")))
@settings(max_examples=300, deadline=None)
def test_r23_whatever_a_supply_says_is_a_reading_or_a_problem(text: str) -> None:
    for said in (text, "{" + text, "charge_frac=" + text, '{"charge_frac": ' + text + "}"):
        reading = parse(said)
        assert reading.charge_frac is None or abs(reading.charge_frac) < float("inf")
    assert isinstance(uncan(text, {"1A0": "a:0:2:1"}), str)
