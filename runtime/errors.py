"""What can go wrong at run time. Each message says what happened, with which value, and what to do next."""

from __future__ import annotations


class SubsolarError(Exception):
    """Anything that the runtime refuses or cannot do; the command prints it as one line and exits with 1."""


class MissionError(SubsolarError):
    """A mission, scenario or command asks for something that does not exist or does not fit together."""


class NoDaemonError(MissionError):
    """No daemon can be asked; unlike other mission errors, what was asked for is right, and the exit code is 1."""


class RefusedError(MissionError):
    """A daemon was asked for something that exists, and it did not hold: exit code 1."""


class NotInstalledError(MissionError):
    """What was asked for is right, but an optional library is missing: exit code 1."""


class RunStopped(SubsolarError):  # noqa: N818 - no error: the user asked for it
    """The user ended a run; what was finished is kept, and the message says where."""


class FrameError(SubsolarError):
    """An image cannot be opened, or does not have what the network needs."""


class EngineError(SubsolarError):
    """A network cannot be loaded or run on this machine."""


class StoreError(SubsolarError):
    """The product store cannot be opened, written or read."""


class LinkError(SubsolarError):
    """The link or the ground station cannot be reached or set up."""


class AddressError(LinkError):
    """What was given as a link or a recording is none; unlike other link errors this is wrong usage, exit code 2."""
