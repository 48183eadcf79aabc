"""File transfer (CCSDS 727.0-B-5): guaranteed, over passes and reboots, with class 2; sent once with class 1."""

from .entity import BOARD_ID, GROUND_ID, CfdpEntity, FileReport
from .log import TransactionLog
from .pdus import Condition, TransactionId
from .receiver import Bounds
from .sender import Timing

__all__ = [
    "BOARD_ID",
    "GROUND_ID",
    "Bounds",
    "CfdpEntity",
    "Condition",
    "FileReport",
    "Timing",
    "TransactionId",
    "TransactionLog",
]
