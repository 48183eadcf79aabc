"""Meters of other machines: INA238, RAPL, NVML and recorded traces, on trees and libraries that answer as theirs do."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import EngineError
from runtime.meters import (
    EstimateMeter,
    Ina3221Meter,
    NvmlGpu,
    NvmlMeter,
    RaplMeter,
    SampledMeter,
    TraceMeter,
    find_meter,
    find_power_rails,
    open_meter,
    read_power_csv,
    read_tegrastats,
)


class SteppedClock:
    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path


def ina238(root: Path, number: int, microwatt: int, label: str | None = None) -> Path:
    folder = root / f"hwmon{number}"
    write(folder / "name", "ina238")
    if label:
        write(folder / "label", label)
    return write(folder / "power1_input", str(microwatt))


def test_an_ina238_gives_its_own_product_of_volts_and_amperes(tmp_path: Path) -> None:
    power, clock = ina238(tmp_path, 2, 12_500_000, "VDD_GPU"), SteppedClock()
    ina238(tmp_path, 3, 2_500_000)
    write(tmp_path / "hwmon1" / "name", "nvme")
    meter = open_meter("ina238", hwmon_root=tmp_path, clock=clock)
    assert meter.rails == ("VDD_GPU", "ina238@hwmon3")
    clock.now_s += 2.0
    assert meter.energy_j() == pytest.approx(30.0)
    assert (meter.kind, meter.error_frac) == ("measured", 0.017)
    power.unlink()
    with pytest.raises(EngineError, match="VDD_GPU cannot be read"):
        meter.energy_j()


def rapl(root: Path, microjoule: int, zone: str = "intel-rapl:0") -> Path:
    write(root / zone / "name", "package-" + zone[-1])
    write(root / zone / "max_energy_range_uj", "262143328850")
    return write(root / zone / "energy_uj", str(microjoule))


def test_rapl_counts_packages_across_the_wrap_and_not_their_cores_again(tmp_path: Path) -> None:
    counter = rapl(tmp_path, 262_143_000_000)
    rapl(tmp_path, 500_000, "intel-rapl:0:0")
    meter = RaplMeter(tmp_path)
    assert (meter.rails, meter.energy_j()) == (("package-0",), 0.0)
    write(counter, "1000000")
    assert meter.energy_j() == pytest.approx(262143.328850 - 262143.0 + 1.0)
    counter.unlink()
    with pytest.raises(EngineError, match="run as root"):
        meter.energy_j()


class FakeNvml:
    """The four calls of NVML that are used, as the library answers them."""

    def __init__(self, fails: str = "") -> None:
        self.millijoule, self.fails = 7_000, fails

    def _code(self, call: str) -> int:
        return 3 if call == self.fails else 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._code("nvmlInit_v2")

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: Any) -> int:  # noqa: N802
        assert index.value == 0
        return self._code("nvmlDeviceGetHandleByIndex_v2")

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: ctypes.c_uint) -> int:  # noqa: N802
        text.value = b"NVIDIA Test"
        return self._code("nvmlDeviceGetName")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, counter: Any) -> int:  # noqa: N802
        counter._obj.value = self.millijoule
        return self._code("nvmlDeviceGetTotalEnergyConsumption")


def test_nvml_counts_millijoules_since_the_meter_was_made() -> None:
    library = FakeNvml()
    meter = NvmlMeter(NvmlGpu(library=library))
    library.millijoule = 9_500
    assert meter.energy_j() == pytest.approx(2.5)
    library.millijoule = 0
    assert meter.energy_j() == pytest.approx(2.5), "a counter that falls back is held"
    assert (meter.rails, meter.error_frac) == (("NVIDIA Test (GPU 0)",), 0.05)


@pytest.mark.parametrize("call", ["nvmlInit_v2", "nvmlDeviceGetTotalEnergyConsumption"])
def test_nvml_without_gpu_or_counter_is_told(call: str) -> None:
    with pytest.raises(EngineError, match=f"{call} with error 3"):
        NvmlMeter(NvmlGpu(library=FakeNvml(call)))


def test_a_recorded_table_is_integrated_up_to_now(tmp_path: Path) -> None:
    table, clock = write(tmp_path / "power.csv", "time_s,power_w\n10,4\n12,8\n14,8"), SteppedClock()
    meter = TraceMeter(read_power_csv(table, error_frac=0.02), clock)
    readings = []
    for passed_s in (0.0, 1.0, 2.0, 3.0, 99.0):
        clock.now_s = 5.0 + passed_s
        readings.append(meter.energy_j())
    assert readings == pytest.approx([0.0, 5.0, 12.0, 20.0, 28.0])
    assert (meter.kind, meter.rails, meter.error_frac) == ("measured", ("power.csv",), 0.02)


@pytest.mark.parametrize(
    "text", ["", "time_s,power_w\n1,2", "time_s,power_w\n2,1\n1,1", "a,b\n1,2", "time_s,power_w\n1,nan\n2,1"]
)
def test_a_table_that_is_no_trace_is_one_clear_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(EngineError, match="power t"):
        read_power_csv(write(tmp_path / "x.csv", text))
    with pytest.raises(EngineError, match="cannot be read"):
        read_power_csv(tmp_path / "none.csv")


def test_a_real_tegrastats_log_gives_joules_of_four_rails(data_dir: Path) -> None:
    trace = read_tegrastats(data_dir / "jetson-agx-orin-tegrastats" / "resnet_maxn.txt")
    assert trace.rails == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
    clock = SteppedClock()
    meter = TraceMeter(trace, clock)
    clock.now_s += float(trace.time_s[-1])
    mean_w = meter.energy_j() / float(trace.time_s[-1])
    assert 10.0 < mean_w < 16.0, "the authors state 14.78 W while it is busy"


def test_the_best_meter_of_a_machine_is_found_and_a_bare_one_has_none(tmp_path: Path) -> None:
    roots = {"ina3221_root": tmp_path / "a", "hwmon_root": tmp_path / "b", "powercap_root": tmp_path / "c"}
    clock = SteppedClock()
    rapl(tmp_path / "c", 5)
    assert isinstance(find_meter(**roots, clock=clock), (RaplMeter, NvmlMeter))
    ina238(tmp_path / "b", 0, 5)
    assert isinstance(find_meter(**roots, clock=clock), SampledMeter)
    chip = tmp_path / "a" / "1-0040" / "hwmon" / "hwmon1"
    for name, text in (("in1_label", "VDD_IN"), ("in1_input", "5000"), ("curr1_input", "1000")):
        write(chip / name, text)
    meter = find_meter(**roots, clock=clock)
    assert isinstance(meter, Ina3221Meter)
    assert meter.error_frac == 0.015
    with pytest.raises(EngineError, match="no meter 'wattmeter'"):
        open_meter("wattmeter")
    with pytest.raises(EngineError, match="no INA238"):
        open_meter("ina238", hwmon_root=tmp_path / "none")
    with pytest.raises(EngineError, match="no RAPL zone"):
        open_meter("rapl", powercap_root=tmp_path / "none")
    assert find_power_rails(tmp_path / "none") == ()


def test_the_error_of_an_estimate_is_unknown() -> None:
    assert math.isinf(EstimateMeter().error_frac)
