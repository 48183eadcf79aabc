"""From raw network outputs to products, one module a task."""

from .boxes import Boxes, Overlap, StreamingMerge, suppress
from .classify import Classifier, product_id
from .detect import Detector
from .image import ImageTask

__all__ = ["Boxes", "Classifier", "Detector", "ImageTask", "Overlap", "StreamingMerge", "product_id", "suppress"]
