"""The sections that a mission file has beside those of a scenario: schema, defaults and documentation of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from power_sim.config import key


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionSection:
    """Where the daemon lives. Paths that are not absolute start at the mission file's folder."""

    state: str
    """Folder for everything that the daemon keeps: products, queue, models, log, trace."""
    packages: str = ""
    """Folder of the packages that the craft was launched with; installed ones take precedence."""
    keys: str = ""
    """Folder of the public keys that packages are checked against."""
    socket: str = ""
    """Control socket; ``control.sock`` in the state folder if empty."""
    socket_group: str = ""
    """Group that may use the socket beside its owner; nobody else may if empty."""
    threads: int = key(1, low=0, high=64)
    """Of one engine; 0 takes all cores."""
    batch_tile: int = key(32, low=1, high=256)
    providers: tuple[str, ...] = ("cpu",)
    """What runs the networks, best first; each is the fallback of the one before: ``tensorrt-native``, ``tensorrt`` and
    ``cuda`` (through ONNX Runtime), ``cpu``, or a plug-in's name."""
    engines: str = ""
    """Folder of TensorRT plans; ``engines`` in the state folder if empty."""
    worker: bool = False
    """Run each engine in a process of its own: one that hangs or crashes is started anew, its tiles tried once more."""
    worker_s: float = key(10.0, above=0.0, high=600.0)
    """A batch that takes a worker longer than this is taken for a hang."""
    memory_mib: int = key(0, low=0, high=1 << 20)
    """What all loaded networks may take together; half of the machine's memory if 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSection:
    """Where images come from. ``stream`` and ``command`` put what they make into the inbox, too."""

    kind: str = key("inbox", choices=("inbox", "stream", "command"))
    inbox: str = "inbox"
    """Folder; a file appears in it by being renamed. Leading dots, .part and .tmp are ignored."""
    cover: str = ""
    """Cover of frames that say no place; the most valuable one if empty."""
    bands: tuple[str, ...] = ()
    """Band names of files that name none."""
    range_low: float | None = None
    """What is 0 and 255 in files of more than 8 bits that do not say."""
    range_high: float | None = None
    overlap_px: int = key(0, low=0, high=4096)
    """What neighbouring tiles share, so that a detector sees objects at their borders whole at least once."""
    frames_max: int = key(1000, low=1, high=1_000_000)
    """Most frames that wait; the oldest of least value are shed first."""
    pixels_max: int = key(400_000_000, low=1, high=100_000_000_000)
    """A larger frame is refused."""
    forbid_detection_on_generated: bool = True
    """Tiles with pixels that a network made up (the frame's band ``generated`` says so) are shed, whoever asks."""
    beside: Mapping[str, tuple[str, ...]] = key({})
    """Further scenes of each frame NAME.tif, by role: NAME.ROLE.tif with these bands, such as sar = ["vv", "vh"]. They
    are laid over it, and must be in the inbox before it is."""
    stream: str = ""
    """``stream``: FIFO or device that push-broom lines come from, as docs/pipeline.md describes them."""
    lines: int = key(512, low=16, high=100_000)
    """``stream``: lines that make one frame."""
    command: tuple[str, ...] = ()
    """``command``: program and arguments that write one image to the path that replaces {out}."""
    period_s: float = key(60.0, above=0.0, high=86_400.0)
    timeout_s: float = key(30.0, above=0.0, high=3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplySection:
    """Where charge, temperature and joules are read."""

    kind: str = key("model", choices=("model", "file", "power_supply", "eps"))
    """``model``: reckoned from the forecast alone; ``file``: KEY=VALUE lines or JSON; ``power_supply``: the kernel's;
    ``eps``: a line protocol over a socket."""
    path: str = ""
    """The file, the folder below /sys/class/power_supply, or the Unix socket or HOST:PORT of the EPS."""
    max_age_s: float = key(600.0, above=0.0, high=86_400.0)
    """A file that was not rewritten for so long counts as missing."""
    can: Mapping[str, str] = key({})
    """``eps`` that forwards CAN frames as candump lines: ID = "name:first_byte:bytes:scale", unsigned, big-endian."""
    meter: str = key("estimate", choices=("estimate", "ina3221"))
    idle_w: float = key(0.0, low=0.0, high=1e4)
    """What the metered rails draw when nothing runs; subtracted from every measurement."""
    thermal: str = ""
    """File with the module's temperature in millidegrees, such as /sys/class/thermal/thermal_zone0/temp."""
    noise_frac: float = key(0.03, above=0.0, high=0.5)
    """Of the charge reading; what differs more from the reckoning is doubted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioSection:
    """How packets leave."""

    kind: str = key("none", choices=("none", "udp", "folder"))
    address: str = ""
    """``udp``: HOST:PORT of the radio or the ground station."""
    outbox: str = "outbox"
    uplink: str = "uplink"
    answer_s: float = key(2.0, above=0.0, high=600.0)
    """How long an answer of the ground may take."""
    key_file: str = ""
    """File with the key that answers have to be sealed with, 64 hexadecimal digits; empty takes them without."""
    safe_byte: int = key(4096, low=0, high=1_000_000_000)
    """Most bytes per slot in safe mode: telemetry first, then what is worth most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderSection:
    """Charges at which the daemon steps down, as shares of what lies above the reserve, and how it steps up again."""

    checkpoint_frac: float = key(0.15, low=0.0, high=1.0)
    """Below: make everything durable, end trials and shadows."""
    shed_frac: float = key(0.07, low=0.0, high=1.0)
    """Below: the thriftiest network alone."""
    safe_frac: float = key(0.0, low=-1.0, high=1.0)
    """Below: nothing is inferred, telemetry goes on."""
    hysteresis_frac: float = key(0.05, above=0.0, high=1.0)
    dwell_slots: int = key(2, low=1, high=1000)
    """Slots to stay on a step before going up."""
    margin_frac: float = key(0.03, low=0.0, high=1.0)
    """Always held back above the forecast's floor; twice that while a reading or a forecast is doubted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsSection:
    """How new packages are taken on, and how running ones are watched."""

    trial_slots: int = key(10, low=1, high=100_000)
    """Slots of work with good health before a new package is kept."""
    failed_max_frac: float = key(0.05, low=0.0, high=1.0)
    """Of a package's tiles in a slot."""
    slower_max: float = key(5.0, above=1.0, high=1000.0)
    """Times the seconds per tile of the package that it replaces."""
    boots_max: int = key(3, low=1, high=100)
    """Starts that a trial may take before it is given up."""
    golden_slots: int = key(20, low=1, high=1_000_000)
    """Slots between two self-tests of every network."""
    shadow_tile: int = key(8, low=1, high=1000)
    """Tiles per slot that a shadow scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """``[tasks.NAME]``: what is said of one task, whichever packages of the pool are of it."""

    value: float = key(1.0, above=0.0, high=1e6)
    """What a right answer is worth, beside what the mission says of the cover below."""


TASK_WORDS = {"classify": "classification", "detect": "detection", "restore": "restoration"}
"""What a mission may call tasks that packages call otherwise."""


def worth_by_task(tasks: Mapping[str, TaskSection]) -> dict[str, float]:
    """Return what a right answer is worth, by the task as packages name it.

    >>> worth_by_task({"detect": TaskSection(value=3.0)})
    {'detection': 3.0}
    """
    return {TASK_WORDS.get(name, name): one.value for name, one in tasks.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencesSection:
    """What new tiles are compared with by packages of the task ``change``."""

    folder: str = ""
    """Of rasters in a map projection, each with its date where it has one. Read once, at the start."""
    store_mib: int = key(256, low=1, high=1 << 20)
    """What the references may take in the state folder; the oldest of least value give way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateSection:
    """How packages of the task ``locate`` find where pictures were taken; ``NAME.sight.json`` beside one says more."""

    gallery: str = ""
    """Of subsolar gallery build, by the package that flies. Empty: the package answers vectors."""
    gsd_m: float | None = key(None, above=0.0, high=1e4)
    """Metres a pixel, of pictures taken straight down."""
    height_m: float | None = key(None, above=0.0, high=1e5)
    """Above ground; with ``focal_px`` in place of ``gsd_m``."""
    focal_px: float | None = key(None, above=0.0, high=1e6)
    heading_deg: float = key(0.0, low=-360.0, high=360.0)
    """Of the upper edge, clockwise from north."""
    tilt_deg: float = key(90.0, low=0.0, high=90.0)
    """Of the axis below level."""
    track: bool = True
    """Frames are one flight, in the order in which they come: each fix is that of the whole flight so far."""
    drift_m: float | None = key(None, above=0.0, high=1e5)
    """Error of motion between two frames; a tile's side if not said, as without odometry."""
    false_fix_frac: float = key(0.05, above=0.0, high=0.5)
    """Share of pictures from elsewhere that may get a position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsSection:
    """What the ground may ask for between two passes: tiles that a text describes, answers to questions."""

    index_tile: int = key(100_000, low=1, high=1_000_000)
    """Tiles whose vectors are kept for each package that can be asked; the oldest give way."""
    waiting_max: int = key(64, low=1, high=10_000)
    """Requests that may wait for the first tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsSection:
    """What the daemon leaves for people and tools."""

    metrics_file: str = ""
    """Prometheus text file, rewritten after each slot; none if empty."""
    metrics_port: int = key(0, low=0, high=65535)
    """Loopback port that answers /metrics; 0 for none."""
    log_byte: int = key(8 << 20, low=1 << 16, high=1 << 32)
    """Size of the log, both files of its ring together."""
    trace_byte: int = key(64 << 20, low=1 << 16, high=1 << 34)
    """Size of the decision trace, both files of its ring together."""
