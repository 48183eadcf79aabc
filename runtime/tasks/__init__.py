"""From raw network outputs to products, one module a task."""

from .classify import Classifier, product_id

__all__ = ["Classifier", "product_id"]
