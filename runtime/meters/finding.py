"""The best meter that this machine has, those of plug-ins included."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import EngineError
from ..plugins import find_plugin, plugin_names
from .ina238 import ERROR_FRAC as INA238_ERROR_FRAC
from .ina238 import HWMON_ROOT, find_power_rails
from .ina3221 import INA3221_ROOT, Ina3221Meter, find_rails, total_rails
from .meter import RatedMeter
from .nvml import NvmlGpu, NvmlMeter
from .rapl import POWERCAP_ROOT, RaplMeter, rapl_zones
from .sampled import SampledMeter

METERS = ("ina3221", "ina238", "nvml", "rapl")


def open_meter(
    name: str,
    *,
    ina3221_root: Path = INA3221_ROOT,
    hwmon_root: Path = HWMON_ROOT,
    powercap_root: Path = POWERCAP_ROOT,
    clock: Callable[[], float] = time.monotonic,
) -> RatedMeter:
    """The meter of that name, or ``NAME`` or ``NAME:ARGUMENT`` of a plug-in.

    Raises ``EngineError`` where this machine has none, or does not let it be read.
    """
    if name == "ina3221":
        return Ina3221Meter(total_rails(find_rails(ina3221_root)), clock)
    if name == "ina238":
        rails = find_power_rails(hwmon_root)
        if not rails:
            raise EngineError(f"There is no INA238 in {hwmon_root}. Use another meter, or an estimate.")
        return SampledMeter(rails, clock, INA238_ERROR_FRAC)
    if name == "nvml":
        return NvmlMeter(NvmlGpu())
    if name == "rapl":
        return RaplMeter(powercap_root)
    return _from_plugin(name)


def find_meter(
    *,
    ina3221_root: Path = INA3221_ROOT,
    hwmon_root: Path = HWMON_ROOT,
    powercap_root: Path = POWERCAP_ROOT,
    clock: Callable[[], float] = time.monotonic,
) -> RatedMeter | None:
    """The first of INA3221, INA238, plug-ins by name, NVML and RAPL that can be read here, or None.

    Whoever installed a plug-in knows of an instrument that the others cannot see; a board's own rails go before it.
    """
    if find_rails(ina3221_root):
        return open_meter("ina3221", ina3221_root=ina3221_root, clock=clock)
    if find_power_rails(hwmon_root):
        return open_meter("ina238", hwmon_root=hwmon_root, clock=clock)
    for name in plugin_names("meters"):
        if (meter := _readable(name, powercap_root)) is not None:
            return meter
    return _readable("nvml", powercap_root) or (_readable("rapl", powercap_root) if rapl_zones(powercap_root) else None)


def _readable(name: str, powercap_root: Path) -> RatedMeter | None:
    """The meter, or None where there is no driver, or reading is not allowed: others follow."""
    try:
        return open_meter(name, powercap_root=powercap_root)
    except EngineError:
        return None


def _from_plugin(spec: str) -> RatedMeter:
    name, _, argument = spec.partition(":")
    make = find_plugin("meters", name)
    if make is None:
        known = ", ".join([*METERS, *plugin_names("meters")])
        raise EngineError(f"There is no meter {name!r}. Use one of {known}.")
    meter: RatedMeter = make(argument)
    return meter
