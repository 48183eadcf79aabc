"""LEO-IISat's tables and figures beside the paper's own values."""

from .command import FULL, QUICK, Extent, Reproduction, reproduce

__all__ = ["FULL", "QUICK", "Extent", "Reproduction", "reproduce"]
