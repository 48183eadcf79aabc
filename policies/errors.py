"""What can go wrong between a slot state and a decision."""


class PolicyError(Exception):
    """Base of every error that this package raises on purpose."""


class UnknownPolicyError(PolicyError):
    """No policy goes by that name."""


class PolicyFileError(PolicyError):
    """A policy file is missing, damaged, or was trained for another observation or pool."""


class TrainingError(PolicyError):
    """Training cannot start or go on."""


class TooLargeError(TrainingError):
    """What would be trained is larger than a board should carry."""


class TrainingInterrupted(TrainingError):  # noqa: N818  it is no fault
    """Training was stopped by hand; a checkpoint holds what was learned."""


class EvaluationError(PolicyError):
    """Policies cannot be graded as asked."""


class NotInstalledError(EvaluationError):
    """What was asked for is right, but an optional library is missing; the message names the extra that brings it."""
