"""What the simulator refuses, and why."""

from __future__ import annotations


class PowerSimError(Exception):
    """Base of every error that this package raises on purpose."""


class ScenarioError(PowerSimError):
    """A scenario or mission file, or a value in it, that cannot be used."""


class OrbitError(PowerSimError):
    """Orbital elements that are malformed, stale or leave the range of their model."""
