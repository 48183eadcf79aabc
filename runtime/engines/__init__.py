"""One door to everything that can run a network."""

from .engine import Engine, self_test
from .onnx_runtime import PROVIDERS, OnnxEngine, open_onnx_engine

__all__ = ["PROVIDERS", "Engine", "OnnxEngine", "open_onnx_engine", "self_test"]
