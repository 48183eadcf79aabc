"""The networks of the zoo by name and size, with what their papers state of them.

Each module of ``exporters.entries`` adds its systems as ``ENTRIES``; none of them imports torch.
"""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ExporterError
from .prove import SAME_WEIGHTS, Bar

if TYPE_CHECKING:
    from torch import nn

PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size of a network, and what its authors count at that size; None where they say nothing."""

    options: Mapping[str, Any]
    """Keyword arguments of the class."""
    input: tuple[int, ...]
    """(bands, rows, cols) at which the figures hold."""
    params_paper: float | None = None
    gmacs_paper: float | None = None
    """Multiply-accumulates, 1e9. Half of what a paper that counts two operations for each of them states."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One system of the zoo."""

    name: str
    title: str
    paper: str
    task: str
    module: str
    """In ``exporters.zoo``."""
    cls: str
    sizes: Mapping[str, Size]
    deploy: str | None = None
    """``module:function`` in ``exporters.zoo``: deploy(network, checkpoint) is the module from raw tiles to the
    package's answer. None: scaling, normalisation and softmax around the network."""
    course: str | None = None
    """``module:function`` in ``exporters.courses``: function(data, *, size, seed, **settings) is a ``Course``."""
    kind: str = "probabilities"
    """The package's kind of output."""
    parity: Bar = SAME_WEIGHTS
    """What its float32 graph is held to, where rounding alone moves its answers further than usual."""


@cache
def networks() -> Mapping[str, Network]:
    """All networks of the zoo by name; ExporterError where two entries share one."""
    from . import entries

    found: dict[str, Network] = {}
    for module in sorted(entry.name for entry in pkgutil.iter_modules(entries.__path__)):
        for network in import_module(f"{entries.__name__}.{module}").ENTRIES:
            if network.name in found:
                raise ExporterError(f"Two entries of the zoo are called {network.name!r}. Rename the one in {module}.")
            found[network.name] = network
    return found


def network_named(name: str) -> Network:
    """The entry of the zoo with that name, or ExporterError naming the ones there are."""
    if name not in networks():
        base, _, size = name.partition("@")
        close = difflib.get_close_matches(name.lower(), networks(), n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(networks())}."
        if base in networks():
            hint = f"Write {base} with --size {size}."
        raise ExporterError(f"There is no network named {name!r} in the zoo. {hint}")
    return networks()[name]


def parity_of(name: str) -> Bar:
    """What a float32 graph of that network is held to; the usual for one that the zoo does not know."""
    known = networks().get(name)
    return SAME_WEIGHTS if known is None else known.parity


def size_of(network: Network, size: str) -> Size:
    """A size of that network, or ExporterError naming the ones there are."""
    if size not in network.sizes:
        raise ExporterError(f"{network.name} has no size {size!r}. Use one of {', '.join(network.sizes)}.")
    return network.sizes[size]


def is_own(name: str) -> bool:
    """Whether ``name`` is the import path of a network of one's own, ``module:Name``."""
    return ":" in name


def title_of(name: str) -> str:
    """How a network of the zoo, or a class given as ``module:Class``, is called in titles."""
    return name.rpartition(":")[2] if is_own(name) else network_named(name).title


def build_network(name: str, *, size: str = PUBLISHED, **switches: Any) -> nn.Module:
    """A network with fresh weights from torch's current seed. Needs torch.

    ``name`` is one of the zoo, whose class takes the options of ``size`` and over them ``switches``. Or it is
    ``module:Name`` of one's own: a ``torch.nn.Module``, or what makes one; of ``stem_stride`` and ``classes`` (there
    also called ``num_classes``) it is given what it asks for by name.
    """
    if is_own(name):
        made: Any = _imported(name)
        if not hasattr(made, "state_dict") or isinstance(made, type):
            made = _call(name, made, _asked_for(made, switches))
    else:
        entry = network_named(name)
        maker = getattr(import_module(f".zoo.{entry.module}", __package__), entry.cls)
        made = _call(name, maker, {**size_of(entry, size).options, **switches})
    if not hasattr(made, "state_dict"):
        raise ExporterError(f"{name} makes a {type(made).__name__}, not a torch.nn.Module. Name a network.")
    network: nn.Module = made
    return network


def zoo_function(package: str, path: str) -> Any:
    """The function that an entry names as ``module:function`` of a package of ``exporters``, such as ``zoo``."""
    module, _, function = path.partition(":")
    return getattr(import_module(f".{package}.{module}", __package__), function)


def _asked_for(maker: Any, switches: Mapping[str, Any]) -> dict[str, Any]:
    """``switches``, without the stem stride and the classes that the maker does not know."""
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return dict(switches)
    wanted = {key: value for key, value in switches.items() if key not in ("classes", "stem_stride")}
    if "stem_stride" in switches and "stem_stride" in parameters:
        wanted["stem_stride"] = switches["stem_stride"]
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    label = next(
        (word for word in ("classes", "num_classes") if word in parameters), "num_classes" if open_ended else None
    )
    if "classes" in switches and label is not None:
        wanted[label] = switches["classes"]
    return wanted


def _call(name: str, maker: Any, options: Mapping[str, Any]) -> Any:
    try:
        return maker(**options)
    except (TypeError, ValueError) as error:
        advice = "Give a class or function that takes at most classes (or num_classes) and stem_stride."
        if not is_own(name):
            advice = f"It takes {', '.join(inspect.signature(maker).parameters)}."
        raise ExporterError(f"{name} cannot be made: {error}. {advice}") from error


def _imported(name: str) -> Any:
    module, _, attribute = name.rpartition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ExporterError(f"There is no network at {name!r}: {error}. Write it as module:Class.") from error
