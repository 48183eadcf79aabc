"""Which packages fly: two slots for each, trials that end in a commit or a rollback, keys that can be exchanged."""

from .keyring import Keyring, make_rotation
from .slots import Installed, ModelSlots, Trial

__all__ = ["Installed", "Keyring", "ModelSlots", "Trial", "make_rotation"]
