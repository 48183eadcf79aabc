"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporters.onnx_runtime import silence_onnxruntime

REPO = Path(__file__).resolve().parents[1]
silence_onnxruntime()


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The research data sets, which do not ship with the project."""
    path = Path(os.environ.get("SUBSOLAR_DATA", REPO.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("needs DATA: set SUBSOLAR_DATA to the folder of the research data sets")
    return path
