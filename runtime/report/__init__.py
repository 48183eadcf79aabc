"""The report of a replay: one HTML file that needs no network."""

from __future__ import annotations

from .model import (
    Finding,
    FrameView,
    GroundTrack,
    PackageView,
    PassRecord,
    ReplayReport,
    Station,
)
from .page import render_report

__all__ = [
    "Finding",
    "FrameView",
    "GroundTrack",
    "PackageView",
    "PassRecord",
    "ReplayReport",
    "Station",
    "render_report",
]
