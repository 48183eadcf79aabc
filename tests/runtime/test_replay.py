"""A whole mission: simulated orbit, real tiles, real engines, real packets to a ground station on loopback."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from runtime.cli import cli

COMMAND = [sys.executable, "-m", "runtime"]
SHORT = ["--orbits", "1", "--tiles-per-slot", "8", "--seed", "7"]


def subsolar(*arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=240, check=False, **kwargs)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], Path]:
    out = tmp_path_factory.mktemp("flight")
    run = subsolar("replay", "cubesat-6u", "--policy", "dqn", *SHORT, "--out", str(out), "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "slots.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_the_summary_names_what_a_reader_needs(flight: tuple[dict[str, object], Path]) -> None:
    summary, out = flight
    wanted = (
        "scenario policy slots tiles accuracy energy_j energy_kind aee_per_j reward shield_overrides "
        "reserve_violations products delivered versions"
    )
    assert set(wanted.split()) <= summary.keys()
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["reserve_violations"] == 0
    assert summary["energy_kind"] == "estimated"


def test_the_networks_are_right_about_held_out_tiles_far_more_often_than_chance(
    flight: tuple[dict[str, object], Path],
) -> None:
    summary, _ = flight
    accuracy = summary["accuracy"]
    assert isinstance(accuracy, float)
    assert accuracy > 0.75


def test_what_was_delivered_lies_on_the_ground_exactly_once(flight: tuple[dict[str, object], Path]) -> None:
    summary, out = flight
    features = json.loads((out / "ground" / "products.geojson").read_text())["features"]
    identities = [feature["id"] for feature in features]
    assert len(identities) == len(set(identities)) == summary["delivered"] == summary["received"]
    assert summary["delivered"] > 0  # type: ignore[operator]
    shown = [feature["properties"]["picture"] for feature in features if "picture" in feature["properties"]]
    assert len(shown) > 10
    assert all((out / "ground" / name).read_bytes()[:4] == b"\x89PNG" for name in shown)
    longitudes = [lon for f in features for lon, _ in f["geometry"]["coordinates"][0]]
    assert all(-180 <= lon <= 180 for lon in longitudes)


def test_each_slot_keeps_its_budget_and_says_why_it_chose(flight: tuple[dict[str, object], Path]) -> None:
    summary, out = flight
    rows = rows_of(out)
    assert len(rows) == summary["slots"]
    for row in rows:
        assert row["reason"]
        assert float(row["energy_j"]) <= float(row["budget_j"]) + 1e-6


def test_the_report_needs_no_network(flight: tuple[dict[str, object], Path]) -> None:
    page = (flight[1] / "report.html").read_text()
    assert 'src="http' not in page
    assert "url(http" not in page
    assert page.lower().startswith("<!doctype html>")


def test_two_runs_with_one_seed_differ_in_measured_times_only(
    flight: tuple[dict[str, object], Path], tmp_path: Path
) -> None:
    _, first = flight
    run = subsolar("replay", "cubesat-6u", "--policy", "dqn", *SHORT, "--out", str(tmp_path), "--json")
    assert run.returncode == 0, run.stderr

    def kept(folder: Path) -> list[dict[str, str]]:
        return [{k: v for k, v in row.items() if not k.endswith("_measured_s")} for row in rows_of(folder)]

    assert kept(tmp_path) == kept(first)


def test_ctrl_c_leaves_what_was_finished_readable(tmp_path: Path) -> None:
    command = [*COMMAND, "replay", "cubesat-6u", "--policy", "greedy", "--orbits", "200", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        (tmp_path / "slots.csv").exists() and (tmp_path / "slots.csv").read_text().count("\n") > 4
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped by the user after" in errors
    assert "Traceback" not in errors
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"] is False
    assert summary["slots"] == len(rows_of(tmp_path)) > 3
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["replay", "no-such-scenario"], 2, "'no-such-scenario' is unknown"),
        (["replay", "cubesat-6u", "--policy", "oracle"], 2, "There is no policy 'oracle'"),
        (["replay", "cubesat-6u", "--set", "power.colour=3"], 2, "power.colour"),
        (["replay", "cubesat-6u", "--set", "nonsense"], 2, "not SECTION.KEY=VALUE"),
        (["replay", "cubesat-6u", "--packages", "/nowhere"], 2, "There is no folder /nowhere"),
        (["replay", "cubesat-6u", "--scenes", "/nowhere"], 2, "There is no folder /nowhere"),
        (["replay", "--orbits", "zero"], 2, "not a valid integer"),
        (["infer", "no-such-package", "x.tif"], 2, "There is no package"),
        (["train", "nothing"], 2, "is not"),
    ],
)
def test_a_wrong_request_costs_one_line_and_code_2(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    given = [*arguments, *(["--out", str(tmp_path / "out")] if arguments[0] == "replay" else [])]
    run = subsolar(*given)
    assert run.returncode == code
    assert words in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out" / "slots.csv").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_anything_flies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = subsolar("replay", "cubesat-6u", "--policy", "greedy", *SHORT, "--out", str(tmp_path / "file" / "out"))
    assert run.returncode == 2
    assert f"{tmp_path / 'file'} is a file, and a folder is needed" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_package_with_a_wrong_hash_is_refused(tmp_path: Path, repo: Path) -> None:
    for source in (repo / "deploy" / "packages").rglob("*"):
        target = tmp_path / "packages" / source.relative_to(repo / "deploy" / "packages")
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (tmp_path / "keys").symlink_to(repo / "deploy" / "keys")
    model = next((tmp_path / "packages").glob("*/model.onnx"))
    damaged = bytearray(model.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    model.write_bytes(damaged)
    run = subsolar(
        "replay", "cubesat-6u", *SHORT, "--packages", str(tmp_path / "packages"), "--out", str(tmp_path / "out")
    )
    assert run.returncode == 1
    assert "model.onnx" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_a_damaged_geotiff_is_refused(damage: str, tmp_path: Path, repo: Path) -> None:
    whole = (repo / "deploy" / "scenes" / "eurosat-test.tif").read_bytes()
    (tmp_path / "scene.tif").write_bytes(whole[: len(whole) // 3] if damage == "truncated" else os.urandom(4096))
    run = subsolar("infer", "eurosat-mobilenet-v2", str(tmp_path / "scene.tif"), "--out", str(tmp_path / "out"))
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "scene.tif" in run.stderr + run.stdout or "scene" in run.stderr + run.stdout


def test_every_command_has_an_option_for_json() -> None:
    def leaves(group: click.Group) -> Iterator[click.Command]:
        for command in group.commands.values():
            if isinstance(command, click.Group):
                yield from leaves(command)
            else:
                yield command

    assert {c.name for c in leaves(cli) if "as_json" not in {p.name for p in c.params}} == set()
