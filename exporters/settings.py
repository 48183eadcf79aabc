"""What an export is told besides its source and its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .checkpoint import RGB, Checkpoint
from .errors import ExportError
from .measure import ACTIVE_POWER_W, BATCHES
from .prove import MIN_TILES
from .quantise import MAX_DAMAGE, METHODS

GSD_RANGE_M = (8.0, 12.0)
UNKNOWN = "unknown"
"""What a package says of its licence and its training data where neither the caller nor the checkpoint does."""
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What an export needs to be told besides the checkpoint and the chips."""

    id: str | None = None
    """Name of the package; None derives it from the data set and the network."""
    version: int = 1
    precision: str = "fp16"
    """``fp32``; ``fp16``: weights stored as float16, arithmetic on a CPU stays in float32; ``int8``: explicit QDQ."""
    targets: tuple[str, ...] = ("cpu",)
    """With ``tensorrt``, fp16 gets a second graph that computes in float16. INT8 always gets its second graph."""
    bands: tuple[str, ...] = ()
    """None of these four: what the checkpoint says, else red, green and blue, 10 m, and twice unknown."""
    gsd_range_m: tuple[float, float] | None = None
    licence: str = ""
    training_data: str = ""
    min_score: float = 0.5
    active_power_w: float = ACTIVE_POWER_W
    batches: Sequence[int] = BATCHES
    repeats: int = 30
    golden_per_class: int = 2
    golden_tolerance_abs: float = 1e-3
    proof_tiles: int = MIN_TILES
    calibration_tiles: int = 256
    """Tiles that give INT8 its ranges; as many others choose the method and the layers that stay in float."""
    calibration_methods: tuple[str, ...] = METHODS
    """The one that does least damage is taken."""
    max_damage: float = MAX_DAMAGE

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ExportError(f"There is no precision {self.precision!r}. Use one of {', '.join(PRECISIONS)}.")

    def resolved(self, checkpoint: Checkpoint | None = None) -> ExportSettings:
        """The same with what was not told taken from ``checkpoint``, or from the usual."""
        own = checkpoint
        return replace(
            self,
            bands=self.bands or (RGB if own is None else own.bands),
            gsd_range_m=self.gsd_range_m or (GSD_RANGE_M if own is None else own.gsd_range_m),
            licence=self.licence or (own.licence if own is not None and own.licence else UNKNOWN),
            training_data=self.training_data or (own.dataset if own is not None and own.dataset else UNKNOWN),
        )

    @property
    def weights_dtype(self) -> str:
        """How a float graph stores its weights."""
        return "float16" if self.precision == "fp16" else "float32"
