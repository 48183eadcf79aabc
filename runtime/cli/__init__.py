"""The ``subsolar`` command. A subcommand parses, calls one library function and prints; the work is done elsewhere."""

from . import daemon, export, flight, ground, keys, learn, locate, packages, prepare, query, reproduce, watch
from .common import cli
from .entry import main

__all__ = [
    "cli",
    "daemon",
    "export",
    "flight",
    "ground",
    "keys",
    "learn",
    "locate",
    "main",
    "packages",
    "prepare",
    "query",
    "reproduce",
    "watch",
]
