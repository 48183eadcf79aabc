"""The daemon as systemd sees it: a process of its own, a notify socket, signals, a network that is not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runtime.cli import cli
from runtime.daemon.control import ask
from runtime.errors import MissionError
from runtime.store import ProductStore

PATIENCE_S = 120.0
"""For what takes two seconds on a machine that does nothing else."""


def spawn(craft: Any, environment: dict[str, str], *before: str) -> subprocess.Popen[str]:
    text = craft.mission.read_text().replace("slot_s = 180.0", "slot_s = 2.0")
    craft.mission.write_text(text)
    craft.clock.utc_s = time.time()
    craft.battery(0.95)
    command = [*before, sys.executable, "-m", "runtime", "run", str(craft.mission)]
    return subprocess.Popen(command, env={**os.environ, **environment}, text=True, stderr=subprocess.DEVNULL)


def until(check: Callable[[], bool], seconds: float) -> bool:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if check():
            return True
        time.sleep(0.05)
    return False


def done(craft: Any) -> int:
    path: Path = craft.folder / "state" / "products.sqlite"
    if not path.exists() or not path.stat().st_size:
        return 0
    from runtime.errors import StoreError

    try:
        store = ProductStore.open_readonly(path)
    except StoreError:
        return 0
    try:
        return store.counts().done_tile
    except (StoreError, KeyError):
        return 0
    finally:
        store.close()


def answers(craft: Any, pid: int) -> bool:
    """Whether this very process flies: it has answered and its signals are in place."""
    with contextlib.suppress(MissionError):
        status = ask(craft.folder / "state" / "control.sock", {"do": "status"}, timeout_s=2.0)
        return bool(status["pid"] == pid and status["slot"])
    return False


def reloaded(process: subprocess.Popen[str], listener: socket.socket) -> str:
    """Reload by the protocol of ``sd_notify(3)`` and return the state that is told at the end."""
    asked_us = int(time.monotonic() * 1e6)
    process.send_signal(signal.SIGHUP)
    word = ""
    while not word.startswith("RELOADING=1"):
        word = listener.recv(4096).decode()
    began_us = int(word.partition("\nMONOTONIC_USEC=")[2])
    assert asked_us <= began_us <= time.monotonic() * 1e6
    while not word.startswith("READY=1"):
        word = listener.recv(4096).decode()
    return word.partition("\nSTATUS=")[2].partition(";")[0]


def test_the_service_is_ready_pings_works_reloads_and_stops(make_craft: Callable[..., Any], tmp_path: Path) -> None:
    craft = make_craft(start=False)
    craft.image()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "n"))
    listener.settimeout(PATIENCE_S)
    process = spawn(craft, {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "2000000"})
    try:
        assert listener.recv(4096).decode().startswith("READY=1")
        assert until(lambda: done(craft) == 16, PATIENCE_S)
        assert reloaded(process, listener) == "running"
        good = craft.mission.read_text()
        craft.mission.write_text(good + "\nnonsense = 1\n")
        assert reloaded(process, listener) == "degraded"
        asked = CliRunner().invoke(cli, ["status", "--mission", str(craft.mission)])
        assert asked.exit_code == 3
        assert "reload refused" in asked.output, "the broken file still names the socket of its daemon"
        craft.mission.write_text(good)
        assert reloaded(process, listener) == "running"
        pings = 0
        while pings < 3:
            pings += listener.recv(4096).decode() == "WATCHDOG=1"
        status = subprocess.run(
            [sys.executable, "-m", "runtime", "status", "--mission", str(craft.mission), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert json.loads(status.stdout)["pid"] == process.pid
        for words, said in ((["pause"], "paused"), (["models", "list"], "accurate"), (["resume"], "resumed")):
            answer = CliRunner().invoke(cli, [*words, "--mission", str(craft.mission)])
            assert said in answer.output
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(10) == 0
        assert time.monotonic() - began_s < 5.0
    finally:
        process.kill()
        process.wait()
        listener.close()


def test_r01_a_killed_daemon_loses_and_doubles_nothing(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(start=False)
    images = [craft.image(f"{n}.tif", seed=n) for n in range(3)]
    assert len(images) == 3
    process = spawn(craft, {})
    assert until(lambda: (craft.folder / "state" / "frames.sqlite").exists(), PATIENCE_S)
    time.sleep(0.3)
    process.kill()
    process.wait()
    process = spawn(craft, {})
    try:
        assert until(lambda: answers(craft, process.pid) and done(craft) >= 48, PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert done(craft) == 48
    store = ProductStore.open_readonly(craft.folder / "state" / "products.sqlite")
    places = [(p.frame_id, p.row_px, p.col_px) for p in store.products()]
    store.close()
    assert len(places) == len(set(places)) == 48


def test_a_mission_that_cannot_be_flown_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("[mission]\nstat = 1\n")
    run = subprocess.run(
        [sys.executable, "-m", "runtime", "run", str(tmp_path / "m.toml")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr.strip().splitlines()[-1].startswith("subsolar: m.toml: mission.stat is not a known key")


def test_r04_a_lock_that_cannot_be_written_is_one_line_and_exit_code_1(make_craft: Callable[..., Any]) -> None:
    """As where the folder was once used by another user."""
    craft = make_craft(start=False)
    (craft.folder / "state" / "lock").mkdir(parents=True)
    command = [sys.executable, "-m", "runtime", "run", str(craft.mission)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "lock cannot be written: Is a directory. Give the folder" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_r28_it_flies_where_there_is_no_network(make_craft: Callable[..., Any]) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no namespaces")
    craft = make_craft(start=False)
    craft.image()
    process = spawn(craft, {}, "unshare", "-rn")
    try:
        assert until(lambda: done(craft) == 16, PATIENCE_S)
    finally:
        process.terminate()
        process.wait(10)


def test_the_unit_gives_the_service_no_more_than_it_needs(repo: Path) -> None:
    unit = repo / "deploy" / "systemd" / "subsolar.service"
    text = unit.read_text()
    for line in ("Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "TimeoutStopSec=5", "WatchdogSec=60"):
        assert line in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd-analyze knows no --offline")
    assert judged.returncode == 0, judged.stdout[-400:]
