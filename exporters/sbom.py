"""What made a package, as CycloneDX 1.5: libraries with versions and licences, the graphs and the source by hash."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

LIBRARIES = ("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy")
_NAMESPACE = uuid.UUID("6f0d7f3e-0a4e-5a39-9e57-6c1f2d6d9a11")


def sbom(
    package_id: str,
    version: int,
    *,
    files: Mapping[str, bytes],
    source_sha256: str,
    training_data: str,
    licence: str,
    libraries: Iterable[str] = LIBRARIES,
) -> bytes:
    """The bill as JSON; no time in it, so that one input gives one byte sequence."""
    word = "id" if _is_spdx(licence) else "name"  # an id must stand in SPDX's list
    components = [
        {
            "type": "machine-learning-model",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
            "licenses": [{"license": {word: licence}}],
        }
        for name, content in sorted(files.items())
    ]
    components.append(
        {"type": "file", "name": "source of the weights", "hashes": [{"alg": "SHA-256", "content": source_sha256}]}
    )
    components.append({"type": "data", "name": "training data", "description": training_data})
    components += [_library(name) for name in sorted({*libraries, "subsolar"})]
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": version,
        "metadata": {"component": {"type": "machine-learning-model", "name": package_id, "version": str(version)}},
        "components": components,
    }
    text = json.dumps(body, sort_keys=True)
    body["serialNumber"] = uuid.uuid5(_NAMESPACE, text).urn
    return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


def _library(name: str) -> dict[str, Any]:
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return {"type": "library", "name": name, "version": "not installed"}
    version = str(found["Version"])
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "licenses": [{"license": {"name": _licence(found)}}],
    }


def _is_spdx(licence: str) -> bool:
    """Whether it may be an identifier of SPDX's list, and is no reference of one's own, no sentence, no ``unknown``."""
    return bool(re.fullmatch(r"(?!LicenseRef-|unknown$)[A-Za-z0-9.+-]+", licence))


def _licence(found: Any) -> str:
    given = found.get("License-Expression") or found.get("License") or "not stated"
    return str(given).strip().splitlines()[0][:80]
