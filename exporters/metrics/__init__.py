"""Measures of how good answers are, one module a kind of task."""
