"""The receiving end: packets in, products exactly once, a map, and a report of what is missing."""

from .receiver import Receiver
from .station import GroundReport, run_ground, run_recording, stop_on_signals

__all__ = ["GroundReport", "Receiver", "run_ground", "run_recording", "stop_on_signals"]
