"""File transfer with guaranteed delivery (CCSDS 727.0-B-5, class 2) that goes on over passes and reboots."""

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
