"""The package as a STAC item with the Machine Learning Model extension 1.4, for catalogues."""

from __future__ import annotations

import re
from typing import Any

from .records import Accuracy, PackageInfo, Variant

_TASKS = {
    "classification": "scene-classification",
    "detection": "object-detection",
    "segmentation": "semantic-segmentation",
    "restoration": "generative",
}
_BY_KIND = {
    "probabilities": "classification",
    "boxes": "object-detection",
    "image": "generative",
    "mask": "semantic-segmentation",
    "map": "regression",
    "embedding": "similarity-search",
}
_AXES = {
    "map": ["batch", "channel", "height", "width"],
    "embedding": ["batch", "dimension"],
    "boxes": ["batch", "box", "value"],
    "image": ["batch", "bands", "height", "width"],
    "mask": ["batch", "class", "height", "width"],
}
_SPDX = re.compile(r"(?!unknown$)[\w\-.+]+")
"""What STAC takes for a licence; anything else, also an unknown one, is "other"."""
_NAME = re.compile(r"[a-zA-Z][\w.\-\s]+[a-zA-Z0-9]", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"


def stac_item(info: PackageInfo, accuracy: Accuracy, *, framework_version: str) -> dict[str, Any]:
    """A STAC 1.1 item; it has no place on Earth and no date, as the MLM extension allows for models.

    The extension wants bands that an input names described among the properties; the core schema then wants them with
    an asset too.
    """
    bands = [{"name": band} for band in info.bands]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM],
        "id": f"{info.id}-{info.version}",
        "geometry": None,
        "properties": {
            "datetime": None,
            "start_datetime": "1900-01-01T00:00:00Z",
            "end_datetime": "9999-12-31T23:59:59Z",
            "description": f"{info.title}, {accuracy.metric} {accuracy.value:.4f} on {accuracy.dataset} ({accuracy.n})",
            "license": info.licence if _SPDX.fullmatch(info.licence) else "other",
            "bands": bands,
            "mlm:name": _name(info.id),
            "mlm:architecture": info.title,
            "mlm:tasks": [_task(info)],
            "mlm:framework": "ONNX",
            **_version(framework_version),
            "mlm:total_parameters": info.params,
            "mlm:pretrained": True,
            "mlm:pretrained_source": info.training_data,
            "mlm:accelerator_constrained": False,
            "mlm:batch_size_suggestion": min(32, info.input.max_batch),
            "mlm:input": [_input(info)],
            "mlm:output": [_output(info)],
        },
        "links": [],
        "assets": {
            "model": {
                "href": "./model.onnx",
                "type": "application/octet-stream; framework=onnx",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "onnx",
                "title": info.title,
                "bands": bands,
            },
            **{f"model-{variant.engine}": _variant(info, variant) for variant in info.variants},
        },
    }


def _name(package_id: str) -> str:
    """The id in the letters that the extension takes for a name: a letter first, three at least."""
    plain = re.sub(r"[^\w.\-\s]+", "-", package_id, flags=re.ASCII).strip("-_. ")
    return plain if _NAME.fullmatch(plain) else f"model-{plain or 0}"


def _version(framework_version: str) -> dict[str, str]:
    """Only a semantic version is one to the extension; of a preview's the number, of anything else nothing."""
    number = _VERSION.match(framework_version)
    return {} if number is None else {"mlm:framework_version": number[0]}


def _classes(info: PackageInfo) -> list[dict[str, Any]]:
    """Classes as the classification extension has them: 1.1 demands a description, 2.0 a name without spaces."""
    return [
        {"value": value, "name": re.sub(r"[^0-9A-Za-z_-]+", "-", name), "description": name}
        for value, name in enumerate(info.classes)
    ]


def _task(info: PackageInfo) -> str:
    """The extension's word for the task; where it has none, for the kind of output."""
    return _TASKS.get(info.task, _BY_KIND[info.output.kind])


def _variant(info: PackageInfo, variant: Variant) -> dict[str, Any]:
    return {
        "href": f"./{variant.file}",
        "type": "application/octet-stream; framework=onnx",
        "roles": ["mlm:weights"],
        "title": f"{info.title} for {variant.engine}, {variant.precision}",
    }


def _input(info: PackageInfo) -> dict[str, Any]:
    edge = info.input.tile_edge_px
    return {
        "name": info.input.name,
        "bands": list(info.bands),
        "input": {
            "shape": [-1, len(info.bands), edge, edge],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": info.input.dtype,
        },
        "value_scaling": None,
        "resize_type": None,
    }


def _output(info: PackageInfo) -> dict[str, Any]:
    return {
        "name": info.output.name,
        "tasks": [_task(info)],
        "result": {
            "shape": [-1, *(size or -1 for size in info.answer_shape)],
            "dim_order": _AXES.get(info.output.kind, ["batch", "class"]),
            "data_type": "float32",
        },
        "classification:classes": _classes(info),
        "post_processing_function": None,
    }
