"""The ``subsolar`` command. A subcommand parses, calls one library function and prints; the work is done elsewhere."""

from . import flight, learn, packages
from .common import cli
from .entry import main

__all__ = ["cli", "flight", "learn", "main", "packages"]
