"""What was decided and found on board, kept through power cuts until the ground has it."""

from .products import Counts, Limits, ProductStore, Transfer

__all__ = ["Counts", "Limits", "ProductStore", "Transfer"]
