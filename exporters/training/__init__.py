"""The one training loop, and what a course must offer to run on it."""

from .course import Course, Described

__all__ = ["Course", "Described"]
