"""The one training loop, and what a course must offer to run on it."""
