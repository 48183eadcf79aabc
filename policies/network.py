"""A trained network as plain arrays: one ``.npz`` file with a description inside and a card beside it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import PolicyFileError

FloatArray = NDArray[np.float32]
SCHEMA = "subsolar-policy/1"
ZERO = np.zeros((), np.float32)
"""To compare arrays with: numpy would make one anew of a plain 0.0 each time."""


@dataclass(frozen=True, slots=True, eq=False)
class Mlp:
    """Layers with ReLU between them. Weights: (inputs, outputs) float32; biases: (outputs,) float32."""

    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]

    @property
    def inputs(self) -> int:
        """Numbers in."""
        return int(self.weights[0].shape[0])

    @property
    def outputs(self) -> int:
        """Numbers out."""
        return int(self.weights[-1].shape[1])

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return (..., outputs) float32 for (..., inputs) float32."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            features = features.dot(weight)
            features += bias
            if layer < last:
                np.maximum(features, 0.0, out=features)
        return features


@dataclass(frozen=True, slots=True, eq=False)
class OneRow:
    """An ``Mlp`` for one row at a time, in memory that is laid out once: the same operations, the same numbers.

    Used by one thread at a time.
    """

    inputs: FloatArray
    fill: Callable[..., None]
    """Writes numbers into the inputs."""
    layers: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]
    """Weight, bias and memory of each layer but the last."""
    last: tuple[FloatArray, FloatArray, FloatArray]

    @classmethod
    def of(cls, network: Mlp) -> OneRow:
        """Return the memory to run a network in."""
        pairs = zip(network.weights, network.biases, strict=True)
        layers = tuple((weight, bias, np.zeros_like(bias)) for weight, bias in pairs)
        inputs = np.zeros(network.inputs, np.float32)
        return cls(inputs, filler(inputs), layers[:-1], layers[-1])

    def __call__(self, row: Sequence[float]) -> list[float]:
        """Return the outputs for one row."""
        self.fill(*row)
        flow = self.inputs
        for weight, bias, memory in self.layers:
            flow = flow.dot(weight, memory)
            np.add(flow, bias, memory)
            np.maximum(flow, ZERO, out=memory)
        weight, bias, memory = self.last
        outputs: list[float] = np.add(flow.dot(weight, memory), bias, memory).tolist()
        return outputs


def filler(array: FloatArray) -> Callable[..., None]:
    """Return a function that writes its arguments into a row, rounded as numpy rounds them, in half of numpy's time."""
    return partial(Struct(f"{array.size}f").pack_into, array.data, 0)


@dataclass(frozen=True, slots=True, eq=False)
class PolicyFile:
    """What a policy file holds."""

    network: Mlp
    about: Mapping[str, Any]
    """``schema``, ``kind``, ``layout``, ``actions``, ``scenario``, ``scenario_sha256``, ``trained``."""
    sha256: str

    @property
    def shape(self) -> dict[str, Any]:
        """How a card describes what the file holds."""
        return {"network": [self.network.inputs, *(int(weight.shape[1]) for weight in self.network.weights)]}


def save_policy_file(path: Path, network: Mlp, about: Mapping[str, Any]) -> PolicyFile:
    """Write a network with its description; the same content gives the same bytes."""
    arrays: dict[str, NDArray[Any]] = {f"w{i}": weight for i, weight in enumerate(network.weights)}
    arrays |= {f"b{i}": bias for i, bias in enumerate(network.biases)}
    described, sha256 = write_arrays(path, arrays, about)
    return PolicyFile(network, described, sha256)


def load_policy_file(path: Path) -> PolicyFile:
    """Return the network that a policy file holds, checked against the card beside it where there is one.

    Raises ``PolicyFileError`` for a file that is missing, damaged, of another schema, or not the one on the card.
    """
    arrays, about, sha256 = read_arrays(path)
    layers = sum(name.startswith("w") for name in arrays)
    try:
        weights = tuple(np.ascontiguousarray(arrays[f"w{i}"], np.float32) for i in range(layers))
        biases = tuple(np.ascontiguousarray(arrays[f"b{i}"], np.float32) for i in range(layers))
    except (KeyError, ValueError, TypeError) as error:
        raise PolicyFileError(f"{path.name} is damaged ({error}). Copy it again or train it anew.") from error
    _check_shapes(path, weights, biases)
    return PolicyFile(Mlp(weights, biases), about, sha256)


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Write arrays with a description into one file, whole or not at all; return the description and the SHA-256."""
    described = {"schema": SCHEMA, **about}
    text = np.frombuffer(json.dumps(described, sort_keys=True).encode(), dtype=np.uint8)
    packed = _pack({**arrays, "about": text})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(packed)
    partial.replace(path)
    return described, hashlib.sha256(packed).hexdigest()


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any], str]:
    """Return the arrays, the description and the SHA-256 of a file, checked against the card beside it."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise PolicyFileError(f"Cannot read the policy {path} ({error.strerror}). Check the path.") from error
    sha256 = hashlib.sha256(packed).hexdigest()
    _check_card(path, sha256)
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(bytes(arrays.pop("about")))
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise PolicyFileError(f"{path.name} is damaged ({error}). Copy it again or train it anew.") from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise PolicyFileError(f"{path.name} is not a {SCHEMA} file. Train it anew with this version.")
    return arrays, about, sha256


def card_path(path: Path) -> Path:
    """Return where the card of a policy file lies."""
    return path.with_suffix(".json")


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an uncompressed ``.npz`` whose bytes depend on the arrays alone (``np.savez`` writes the time of day)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.save(entry, arrays[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), entry.getvalue())
    return packed.getvalue()


def _check_card(path: Path, sha256: str) -> None:
    card = card_path(path)
    if not card.is_file():
        return
    try:
        described = json.loads(card.read_text(encoding="utf-8"))
        wanted = described["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PolicyFileError(f"The card {card.name} is damaged ({error}). Restore it or remove it.") from error
    if wanted != sha256:
        raise PolicyFileError(
            f"{path.name} is not the file that {card.name} describes (sha256 {sha256[:12]}, card {str(wanted)[:12]}). "
            "Restore both from one release."
        )


def _check_shapes(path: Path, weights: tuple[FloatArray, ...], biases: tuple[FloatArray, ...]) -> None:
    matrices = weights and len(weights) == len(biases) and all(weight.ndim == 2 for weight in weights)
    if not matrices or any(bias.shape != weight.shape[1:] for weight, bias in zip(weights, biases, strict=True)):
        raise PolicyFileError(f"{path.name} holds no network: its layers do not fit. Train it anew.")
    if any(before.shape[1] != after.shape[0] for before, after in pairwise(weights)):
        raise PolicyFileError(f"{path.name} holds no network: its layers do not fit. Train it anew.")
    if not all(np.isfinite(array).all() for array in (*weights, *biases)):
        raise PolicyFileError(f"{path.name} holds numbers that are not finite. Train it anew.")
