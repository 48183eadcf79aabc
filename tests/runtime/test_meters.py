"""Energy meters: cumulative, honest about their kind, and right to the joule on real board logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.errors import EngineError
from runtime.meters import EstimateMeter, Ina3221Meter, PowerMeter, ReplayMeter, find_rails, total_rails

AGX_ORIN = ({"1": "VDD_GPU_SOC", "2": "VDD_CPU_CV", "3": "VIN_SYS_5V0"}, {"1": "NC", "2": "VDDQ_VDD2_1V8AO", "3": ""})


class SteppedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Board:
    """A sysfs tree such as the kernel makes for the monitors of a Jetson."""

    def __init__(self, root: Path, monitors: Sequence[dict[str, str]] = AGX_ORIN) -> None:
        self.root = root
        self.folders: dict[str, tuple[Path, str]] = {}
        for number, labels in enumerate(monitors):
            folder = root / f"1-004{number}" / "hwmon" / f"hwmon{number + 3}"
            folder.mkdir(parents=True)
            for channel, label in labels.items():
                (folder / f"in{channel}_label").write_text(label + "\n")
                self.folders[label] = folder, channel
                (folder / f"in{channel}_input").write_text("0\n")
                (folder / f"curr{channel}_input").write_text("0\n")

    def draw(self, **power_mw: int) -> None:
        """Set rails to a power, at 5 V."""
        for name, milliwatt in power_mw.items():
            folder, channel = self.folders[name]
            replace_text(folder / f"in{channel}_input", "5000\n")
            replace_text(folder / f"curr{channel}_input", f"{round(milliwatt / 5)}\n")


def replace_text(path: Path, text: str) -> None:
    """In one step, as the kernel's files change."""
    partial = path.with_suffix(".part")
    partial.write_text(text)
    partial.replace(path)


def read_log(path: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """(GPU load in percent, milliwatts by rail) of each line of a tegrastats log."""
    for line in path.read_text(encoding="utf-8").splitlines():
        load = re.search(r"GR3D_FREQ (\d+)%", line)
        rails = {name: int(now) for name, now in re.findall(r"(V[A-Z0-9_]+) (\d+)mW/", line)}
        if load and rails:
            yield int(load[1]), rails


def test_the_rails_of_an_agx_orin_are_found_and_its_unconnected_channels_are_not(tmp_path: Path) -> None:
    Board(tmp_path)
    names = [rail.name for rail in find_rails(tmp_path)]
    assert names == ["VDDQ_VDD2_1V8AO", "VDD_CPU_CV", "VDD_GPU_SOC", "VIN_SYS_5V0"]
    assert [rail.name for rail in total_rails(find_rails(tmp_path))] == names


def test_an_orin_nx_is_metered_at_its_input_alone(tmp_path: Path) -> None:
    Board(tmp_path, [{"1": "VDD_IN", "2": "VDD_CPU_GPU_CV", "3": "VDD_SOC"}])
    assert [rail.name for rail in total_rails(find_rails(tmp_path))] == ["VDD_IN"]


def test_a_board_that_nobody_knows_is_not_summed_up(tmp_path: Path) -> None:
    assert find_rails(tmp_path / "none") == ()
    with pytest.raises(EngineError, match="found: none"):
        total_rails(())
    Board(tmp_path, [{"1": "RAIL_A"}])
    with pytest.raises(EngineError, match="found: RAIL_A"):
        total_rails(find_rails(tmp_path))


def test_power_is_volts_times_amperes_and_energy_its_integral(tmp_path: Path) -> None:
    board, clock = Board(tmp_path), SteppedClock()
    board.draw(VDD_GPU_SOC=4000, VIN_SYS_5V0=2000)
    meter = Ina3221Meter(total_rails(find_rails(tmp_path)), clock)
    assert meter.power_w() == pytest.approx(6.0)
    assert meter.energy_j() == 0.0
    clock.now_s += 10
    assert meter.energy_j() == pytest.approx(60.0)
    board.draw(VDD_GPU_SOC=8000)
    clock.now_s += 2
    assert meter.energy_j() == pytest.approx(60.0 + 2 * (6.0 + 10.0) / 2)
    clock.now_s -= 50
    assert meter.energy_j() == pytest.approx(76.0)


def test_a_rail_that_vanishes_is_told(tmp_path: Path) -> None:
    board = Board(tmp_path)
    meter = Ina3221Meter(find_rails(tmp_path), SteppedClock())
    folder, channel = board.folders["VDD_CPU_CV"]
    (folder / f"curr{channel}_input").unlink()
    with pytest.raises(EngineError, match="VDD_CPU_CV"):
        meter.energy_j()


def test_background_readings_see_what_happens_between_two_calls(tmp_path: Path) -> None:
    board, clock = Board(tmp_path), SteppedClock()
    meter = Ina3221Meter(total_rails(find_rails(tmp_path)), clock)
    thread = meter.start(period_s=0.001)
    board.draw(VDD_GPU_SOC=5000)
    meter.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    meter.energy_j()
    clock.now_s += 4
    assert meter.energy_j() == pytest.approx(20.0)


def test_a_reading_that_fails_in_the_background_does_not_end_the_others(tmp_path: Path) -> None:
    board, clock = Board(tmp_path), SteppedClock()
    meter = Ina3221Meter(total_rails(find_rails(tmp_path)), clock)
    folder, channel = board.folders["VDD_GPU_SOC"]
    rail = folder / f"curr{channel}_input"
    rail.write_text("")
    thread = meter.start(period_s=0.001)
    thread.join(timeout=0.05)
    assert thread.is_alive()
    with pytest.raises(EngineError, match="VDD_GPU_SOC"):
        meter.energy_j()
    board.draw(VDD_GPU_SOC=5000)
    meter.stop()
    thread.join(timeout=10)
    clock.now_s += 4
    meter.energy_j()
    clock.now_s += 4
    before = meter.energy_j()
    clock.now_s += 4
    assert meter.energy_j() - before == pytest.approx(20.0)


@dataclass
class LoggedRail:
    """Plays back one rail of a log."""

    name: str
    log_mw: Iterator[int]

    def power_w(self) -> float:
        return next(self.log_mw) * 1e-3


@pytest.mark.parametrize(
    ("log", "authors_w"), [("resnet_maxn.txt", 14.78), ("depth_15W.txt", 11.91), ("depth_50W.txt", 27.78)]
)
def test_real_agx_orin_logs_give_the_power_that_their_authors_state(data_dir: Path, log: str, authors_w: float) -> None:
    busy = [rails for load, rails in read_log(data_dir / "jetson-agx-orin-tegrastats" / log) if load > 0]
    clock = SteppedClock()
    meter = Ina3221Meter([LoggedRail(name, iter([rails[name] for rails in busy])) for name in busy[0]], clock)
    total_j = 0.0
    for _ in busy[1:]:
        clock.now_s += 1
        total_j = meter.energy_j()
    total_w = [sum(rails.values()) / 1e3 for rails in busy]
    assert meter.rails == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
    assert total_j == pytest.approx(sum((a + b) / 2 for a, b in pairwise(total_w)))
    assert total_j / (len(busy) - 1) == pytest.approx(authors_w, rel=2e-3)


def test_a_real_log_read_through_sysfs_gives_the_same_joules(data_dir: Path, tmp_path: Path) -> None:
    busy = [rails for _, rails in read_log(data_dir / "jetson-agx-orin-tegrastats" / "resnet_maxn.txt")][100:140]
    board, clock = Board(tmp_path), SteppedClock()
    board.draw(**busy[0])
    meter = Ina3221Meter(total_rails(find_rails(tmp_path)), clock)
    read_j = 0.0
    for rails in busy[1:]:
        board.draw(**rails)
        clock.now_s += 1
        read_j = meter.energy_j()
    expected_j = sum((a + b) / 2 for a, b in pairwise(sum(rails.values()) / 1e3 for rails in busy))
    assert read_j == pytest.approx(expected_j, rel=1e-3)


def test_an_estimate_is_what_the_profile_says_and_says_that_it_is_one() -> None:
    meter = EstimateMeter()
    meter.spend(32, 0.01)
    meter.spend(8, 0.05)
    assert meter.energy_j() == pytest.approx(0.72)
    assert meter.kind == "estimated"
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(EngineError, match="no energy"):
            meter.spend(1, wrong)
    assert meter.energy_j() == pytest.approx(0.72)


def test_a_recording_plays_back_and_never_falls() -> None:
    meter = ReplayMeter(iter([1.0, 3.5, 3.0, 9.0]))
    assert [meter.energy_j() for _ in range(6)] == [1.0, 3.5, 3.5, 9.0, 9.0, 9.0]
    assert meter.kind == "measured"


def test_all_meters_fit_one_door(tmp_path: Path) -> None:
    Board(tmp_path)
    meters: list[PowerMeter] = [
        EstimateMeter(),
        ReplayMeter(iter([0.0])),
        Ina3221Meter(find_rails(tmp_path), SteppedClock()),
    ]
    assert all(meter.energy_j() == 0.0 and meter.rails and meter.kind in ("measured", "estimated") for meter in meters)
