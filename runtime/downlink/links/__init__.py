"""Ways for packets to travel: real ones, rate-limited ones, and ones that misbehave on purpose."""

from .address import board_link, station_link
from .base import Link, MemoryLink, memory_pair
from .folder import FolderLink
from .impaired import ImpairedLink, Impairment, SimulatedChannel
from .limited import BudgetedLink, PacedLink
from .stream import StreamLink, TcpServer
from .udp import UdpLink

__all__ = [
    "BudgetedLink",
    "FolderLink",
    "ImpairedLink",
    "Impairment",
    "Link",
    "MemoryLink",
    "PacedLink",
    "SimulatedChannel",
    "StreamLink",
    "TcpServer",
    "UdpLink",
    "board_link",
    "memory_pair",
    "station_link",
]
