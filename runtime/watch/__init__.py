"""The report page, live: served on loopback from a running daemon or from a replay's store, read only."""

from __future__ import annotations

from .server import PageServer
from .sources import DaemonSource, Source, StoreSource

__all__ = ["DaemonSource", "PageServer", "Source", "StoreSource"]
