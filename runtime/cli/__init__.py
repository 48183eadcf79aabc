"""The ``subsolar`` command. A subcommand parses, calls one library function and prints; the work is done elsewhere."""

from . import daemon, flight, learn, packages, watch
from .common import cli
from .entry import main

__all__ = ["cli", "daemon", "flight", "learn", "main", "packages", "watch"]
