"""What a model package says about itself: identity, interface, proof and profile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .errors import PackageError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What the graph is fed: (n, bands, tile_edge_px, tile_edge_px); normalisation is inside the graph."""

    name: str
    dtype: str = "uint8"
    """``uint8``, or ``float32`` for physical values."""
    layout: str = "nchw"
    tile_edge_px: int
    bands: tuple[str, ...]
    max_batch: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What the graph answers, float32.

    ``probabilities``: (n, classes), rows sum to 1. ``boxes``: (n, k, 6): left, top, right, bottom in px, score, class;
    not yet suppressed. ``image``: (n, bands, edge, edge), 0..255. ``mask``: (n, classes, edge, edge) scores. ``map``:
    (n, channels, edge, edge) physical values in ``unit``. ``embedding``: (n, channels), rows of length 1.
    """

    name: str
    kind: str = "probabilities"
    unit: str = ""
    """Of a map; empty for a plain number."""
    channels: int = 1
    """Of a map, or dimensions of an embedding."""


KINDS = ("probabilities", "boxes", "image", "mask", "map", "embedding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A further file of a package, such as the graph that embeds texts, or a vocabulary. See ``ModelPackage.read``."""

    name: str
    file: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Answers below ``min_score`` are kept as unsure."""

    min_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Two forms of the network compared on the same real tiles, before the package was kept."""

    source: str
    target: str
    tiles: int
    max_abs_diff: float
    mean_abs_diff: float
    tolerance_abs: float
    top1_agreement: float
    """Share of tiles whose top-1 stays; of pixels for a mask, of boxes that keep their class, of tiles whose nearest
    other tile stays for an embedding, 1 for an image or a map."""
    min_top1_agreement: float
    box_iou_mean: float | None = None
    """Detectors: mean over the source's boxes of the best overlap with the target's."""
    psnr_db: float | None = None
    """Images and maps: of the target against the source, peak 255, or for a map the span of the source's answers."""
    cosine_min: float | None = None
    """Embeddings: the smallest cosine between both answers to one tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofTiles:
    """Which tiles a stored proof was made on."""

    dataset: str
    tiles: int
    sha256: str
    """Of their pixels in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Measured on ``n`` tiles the network never saw. ``confusion[i][j]``: tiles of class i called j; empty without
    classes. ``metric`` says what ``value`` is; ``ci95`` is ``value`` twice where no interval is known."""

    metric: str
    dataset: str
    n: int
    value: float
    ci95: tuple[float, float]
    recall_by_class: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """How a graph was quantised, kept in ``package.json``."""

    target: str
    method: str
    calibration_tiles: int
    float_layers: tuple[str, ...]
    """Layers that the sweep left in float, worst first."""
    quantised_layers: int
    damage_by_method: dict[str, float]
    """By calibration method, on the tiles that choose, everything quantised that may be: for boxes the share of the
    scores that finds no like box, for other kinds the mean L1 change of a tile's answer."""
    damage: float
    """The same for the graph that ships."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Another graph of the same network, for engines that cannot use ``model.onnx`` well."""

    engine: str
    """The provider that takes it, such as ``tensorrt``."""
    file: str
    expected_file: str
    """What it answers to the golden tiles."""
    tolerance_abs: float
    precision: str
    accuracy: Accuracy
    """Top-1 of this graph under ONNX Runtime on the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtReport:
    """What the lint found for ``versions``; ``result`` stays ``not built: no device`` until one built an engine."""

    result: str
    file: str
    versions: tuple[str, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    dla_layers_frac: float
    """Share of layers that the DLA rules let run there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInfo:
    """``package.json``. ``version`` only grows: an older one is not accepted after a newer one."""

    schema: int = SCHEMA
    id: str
    version: int
    title: str
    task: str
    network: str
    params: int
    gmacs: float
    """Multiply-accumulates per tile, 1e9."""
    precision: str
    """The arithmetic of the graph."""
    weights_dtype: str
    """How the weights are stored; the graph casts them to ``precision``."""
    gsd_range_m: tuple[float, float]
    classes: tuple[str, ...]
    input: InputSpec
    output: OutputSpec
    thresholds: Thresholds
    licence: str
    training_data: str
    training: dict[str, Any]
    created_by: dict[str, str]
    proofs: tuple[Proof, ...]
    """From the network as trained, step by step, to the graph that ships."""
    quantisation: tuple[Quantisation, ...] = ()
    """How each quantised graph was made; empty for float graphs."""
    variants: tuple[Variant, ...] = ()
    companions: tuple[Companion, ...] = ()
    """Further graphs and files that belong to it."""
    tensorrt: TensorRtReport | None = None
    golden_index: tuple[int, ...] | None = None
    """Which of the proof's tiles the golden ones are."""
    stac: dict[str, Any] = field(default_factory=dict)
    """A STAC item with the fields of the MLM extension 1.4."""

    def variant_for(self, engine: str) -> Variant | None:
        """The graph made for that engine, or None: then ``model.onnx`` serves it."""
        return next((variant for variant in self.variants if variant.engine == engine), None)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """What one tile's answer looks like; 0 stands for any number."""
        edge, channels = self.input.tile_edge_px, self.output.channels
        shapes = {
            "boxes": (0, 6),
            "image": (len(self.bands), edge, edge),
            "mask": (len(self.classes), edge, edge),
            "map": (channels, edge, edge),
            "embedding": (channels,),
        }
        return shapes.get(self.output.kind, (len(self.classes),))

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that the input needs, in their order."""
        return self.input.bands


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEntry:
    """Time and energy of one batch size on one device. ``clock``: ``cpu`` seconds of this process, or ``wall``."""

    device: str
    machine: str
    runtime: str
    precision: str
    power_mode: str
    threads: int
    batch: int
    clock: str
    latency_p50_s: float
    latency_p99_s: float
    tile_s: float
    """Median latency of the batch divided by its tiles."""
    tile_s_ci95: tuple[float, float]
    repeats: int
    energy_j_per_tile: float
    energy_kind: str
    """``measured`` or ``estimated``."""
    energy_method: str
    active_power_w: float
    measured_on: str
    mode: str = "single-batch"
    """``single-stream``, ``offline`` or ``slot-burst`` where ``subsolar bench`` says so."""
    energy_ci95: tuple[float, float] | None = None
    """95 % interval of ``energy_j_per_tile`` over the repeats, where a meter measured it."""
    idle_power_w: float | None = None
    """Subtracted from what the meter read."""
    meter_error_frac: float | None = None
    throughput_hz: float | None = None
    """Tiles a wall-clock second."""
    roofline_frac: float | None = None
    """Shortest time that the measured peaks of arithmetic and memory allow, divided by the time taken."""

    @property
    def implied_power_w(self) -> float:
        """The power that time and energy imply together."""
        return self.energy_j_per_tile / self.tile_s if self.tile_s > 0.0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """``profile.json``: what was measured of this package, and how."""

    schema: int = SCHEMA
    accuracy: Accuracy
    measurements: tuple[ProfileEntry, ...]
    notes: tuple[str, ...] = ()
    """What whoever chooses should know, such as that INT8 is slower than fp32 on this CPU."""

    def entry_for(self, *, batch: int, device: str | None = None) -> ProfileEntry:
        """The measurement whose batch is nearest to ``batch``, smaller before larger."""
        entries = [entry for entry in self.measurements if device in (None, entry.device)]
        if not entries:
            known = sorted({entry.device for entry in self.measurements})
            raise PackageError(f"The profile has no measurement on {device!r}, only on {known}. Run: subsolar bench.")
        return min(entries, key=lambda entry: (abs(math.log(entry.batch / batch)), entry.batch))


def check_envelope(profile: Profile, max_power_w: float = 60.0) -> None:
    """Refuse a profile whose joules and seconds imply a power outside (0, max_power_w].

    60 W is the most a Jetson AGX Orin module draws; published energies that imply 86 to 297 W were not measured on one.
    """
    for entry in profile.measurements:
        power_w = entry.implied_power_w
        if not 0.0 < power_w <= max_power_w:
            raise PackageError(
                f"The profile for batch {entry.batch} on {entry.device} implies {power_w:.1f} W "
                f"({entry.energy_j_per_tile:.4g} J in {entry.tile_s:.4g} s a tile), outside (0, {max_power_w:g}] W. "
                "Measure it again with: subsolar bench --write."
            )
