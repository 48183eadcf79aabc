"""Products on their way to the ground: ordered by value per byte, packed, sent, and acknowledged."""

from .chips import ChipOutbox
from .queue import Downlink, Load
from .rules import Rules
from .session import DownlinkSession, Pacing, PassReport

__all__ = ["ChipOutbox", "Downlink", "DownlinkSession", "Load", "Pacing", "PassReport", "Rules"]
