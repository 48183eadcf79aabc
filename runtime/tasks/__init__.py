"""From raw network outputs to products, one module a task."""

from .boxes import Boxes, Overlap, StreamingMerge, suppress
from .classify import Classifier, product_id
from .detect import Detector
from .embed import EmbeddingTask
from .image import ImageTask
from .values import MapTask

__all__ = [
    "Boxes",
    "Classifier",
    "Detector",
    "EmbeddingTask",
    "ImageTask",
    "MapTask",
    "Overlap",
    "StreamingMerge",
    "product_id",
    "suppress",
]
