"""Products on their way to the ground: ordered by value per byte, packed, sent, and acknowledged."""

from .queue import Downlink, Load
from .rules import Rules
from .session import DownlinkSession, Pacing, PassReport

__all__ = ["Downlink", "DownlinkSession", "Load", "Pacing", "PassReport", "Rules"]
