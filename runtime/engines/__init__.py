"""One door to everything that can run a network."""

from .chain import EngineChain, Health
from .engine import Engine, self_test
from .memory import MemoryBudget, expected_byte, machine_limit_byte, return_freed
from .onnx_runtime import PROVIDERS, OnnxEngine, open_onnx_engine
from .opening import open_engine
from .pool import EnginePool
from .preferred import NATIVE, Preference, PreferredEngine, Vendor, open_preferred
from .swap import Swappable
from .worker import WorkerEngine

__all__ = [
    "NATIVE",
    "PROVIDERS",
    "Engine",
    "EngineChain",
    "EnginePool",
    "Health",
    "MemoryBudget",
    "OnnxEngine",
    "Preference",
    "PreferredEngine",
    "Swappable",
    "Vendor",
    "WorkerEngine",
    "expected_byte",
    "machine_limit_byte",
    "open_engine",
    "open_onnx_engine",
    "open_preferred",
    "return_freed",
    "self_test",
]
