"""Energy of a discrete NVIDIA GPU: the cumulative counter of NVML, by ctypes, so that no package is needed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import EngineError

ERROR_FRAC = 0.05
"""What the vendor states for its power readings (NVML reference, nvmlDeviceGetPowerUsage)."""
_SUCCESS = 0


class EnergyCounter(Protocol):
    """A GPU that counts its joules."""

    @property
    def name(self) -> str:
        """The GPU's name."""
        ...

    def energy_j(self) -> float:
        """Joules since the driver was loaded."""
        ...


class NvmlGpu:
    """One GPU through ``libnvidia-ml.so.1``. Raises ``EngineError`` where there is no driver, GPU or counter."""

    def __init__(self, index: int = 0, library: Any = None) -> None:
        self._nvml = library if library is not None else _load()
        self._handle = ctypes.c_void_p()
        self._ask("nvmlInit_v2")
        self._ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(self._handle))
        text = ctypes.create_string_buffer(96)
        self._ask("nvmlDeviceGetName", self._handle, text, ctypes.c_uint(len(text)))
        self.name = f"{text.value.decode('utf-8', 'replace')} (GPU {index})"

    def energy_j(self) -> float:
        """The counter; NVML counts millijoules, from Volta on."""
        millijoule = ctypes.c_ulonglong()
        self._ask("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(millijoule))
        return millijoule.value * 1e-3

    def _ask(self, call: str, *arguments: Any) -> None:
        code = getattr(self._nvml, call)(*arguments)
        if code != _SUCCESS:
            raise EngineError(f"NVML answers {call} with error {code}. Check the driver, or use another meter.")


@dataclass
class NvmlMeter:
    """Joules of one GPU since it was made. On a Jetson use the INA3221: its NVML has no energy counter."""

    gpu: EnergyCounter
    kind: str = field(default="measured", init=False)
    error_frac: float = field(default=ERROR_FRAC, init=False)
    _highest_j: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.rails = (self.gpu.name,)
        self._start_j = self.gpu.energy_j()

    def energy_j(self) -> float:
        """All joules so far; a counter that falls back is held at its highest."""
        self._highest_j = max(self._highest_j, self.gpu.energy_j() - self._start_j)
        return self._highest_j


def _load() -> Any:
    try:
        return ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        raise EngineError(f"NVML cannot be loaded: {error}. Install NVIDIA's driver, or use another meter.") from error
