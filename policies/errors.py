"""What can go wrong between a slot state and a decision."""


class PolicyError(Exception):
    """Base of every error that this package raises on purpose."""


class UnknownPolicyError(PolicyError):
    """No policy goes by that name."""


class PolicyFileError(PolicyError):
    """A policy file is missing, damaged, or was trained for another observation or pool."""


class TrainingError(PolicyError):
    """Training cannot start or go on."""


class EvaluationError(PolicyError):
    """Policies cannot be graded as asked."""
