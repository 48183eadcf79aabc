"""What can go wrong between a checkpoint and a package, one class per cause."""


class ExporterError(Exception):
    """Base of every error that this package raises on purpose."""


class DatasetError(ExporterError):
    """The training or test data cannot be used."""


class FitError(ExporterError):
    """Training cannot start or go on."""


class CheckpointError(ExporterError):
    """A checkpoint cannot be read, or does not fit its network."""


class ExportError(ExporterError):
    """A network cannot be exported, or its export does not do what the source does."""


class PackageError(ExporterError):
    """A model package is damaged, unsigned, signed by a stranger, or implausible."""


class KeyFileError(ExporterError):
    """A signing or verification key cannot be read or written."""
