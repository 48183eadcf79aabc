"""What travels between spacecraft and ground, as bytes: CCSDS space packets, batches of products, short messages."""

from .codec import MalformedError
from .messages import Acknowledgement, Housekeeping
from .packets import Apid, Packet
from .payload import Batch

__all__ = ["Acknowledgement", "Apid", "Batch", "Housekeeping", "MalformedError", "Packet"]
