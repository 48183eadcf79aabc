"""The package as a STAC item: pystac reads it, its core schema holds, and so do the rules of the MLM extension 1.4.

The extension's schema lies on the network, so what it demands of an item is written here rule by rule, with what it
takes from others: classes from the classification extension 1.1, names of number types from the raster extension 1.1.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporters.records import Accuracy, InputSpec, OutputSpec, PackageInfo, Profile, Variant
from exporters.stac import stac_item

pystac = pytest.importorskip("pystac")

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
SHIPPED = sorted((Path(__file__).parents[2] / "deploy" / "packages").glob("*/package.json"))
TASKS = {
    "regression",
    "classification",
    "scene-classification",
    "detection",
    "object-detection",
    "segmentation",
    "semantic-segmentation",
    "instance-segmentation",
    "panoptic-segmentation",
    "similarity-search",
    "generative",
    "image-captioning",
    "super-resolution",
    "downscaling",
}
ITEM_ONLY = {"mlm:name", "mlm:input", "mlm:output", "mlm:hyperparameters"}
ASSET_ONLY = {"mlm:artifact_type", "mlm:compile_method"}
EITHER = {
    "mlm:architecture",
    "mlm:tasks",
    "mlm:framework",
    "mlm:framework_version",
    "mlm:memory_size",
    "mlm:total_parameters",
    "mlm:pretrained",
    "mlm:pretrained_source",
    "mlm:batch_size_suggestion",
    "mlm:accelerator",
    "mlm:accelerator_constrained",
    "mlm:accelerator_summary",
    "mlm:accelerator_count",
}
NUMBERS = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float16", "float32", "float64"}
KINDS = {
    "probabilities": "classification",
    "boxes": "detection",
    "image": "restoration",
    "mask": "segmentation",
    "map": "height",
    "embedding": "search",
}


def item_of(info: PackageInfo, accuracy: Accuracy, kind: str = "probabilities", **changes: Any) -> dict[str, Any]:
    output = OutputSpec(name="answers", kind=kind, channels=2)
    version = changes.pop("framework_version", "1.20.1")
    return stac_item(replace(info, output=output, task=KINDS[kind], **changes), accuracy, framework_version=version)


def broken_rules(item: Mapping[str, Any]) -> list[str]:
    """What of MLM 1.4.0 an item breaks."""
    return [
        rule
        for rules in (_of_fields(item), _of_values(item["properties"]), _of_shapes(item), _of_classes(item))
        for rule, holds in rules
        if not holds
    ]


def _mlm(fields: Mapping[str, Any]) -> set[str]:
    return {key for key in fields if key.startswith("mlm:")}


def _of_fields(item: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Which field may stand where."""
    properties, assets = item["properties"], list(item["assets"].values())
    yield "the extension is declared", MLM in item["stac_extensions"]
    needed = {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"}
    yield "an item has the fields that it must", needed <= properties.keys()
    yield "an item has no field that is none or an asset's", _mlm(properties) <= ITEM_ONLY | EITHER
    models = ["mlm:model" in asset["roles"] for asset in assets]
    yield "some asset is a model", any(models)
    for asset, is_model in zip(assets, models, strict=True):
        yield "an asset has no field that is none or an item's", _mlm(asset) <= ASSET_ONLY | EITHER
        yield "a model, and it alone, says what artifact it is", bool(asset.get("mlm:artifact_type")) is is_model
    if any(given.get("bands") for given in properties["mlm:input"]):
        yield "bands are described, as STAC 1.1 does", bool(properties.get("bands"))
        yield "the item is one of STAC 1.1", re.match(r"1\.[1-9]\d*\.\d+", item["stac_version"]) is not None


def _of_values(properties: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    semantic = r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
    yield "name", re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", properties["mlm:name"]) is not None
    yield "framework", properties["mlm:framework"] == "ONNX"
    yield "version", re.fullmatch(semantic, properties.get("mlm:framework_version", "0.0.0")) is not None
    yield "parameters", isinstance(properties["mlm:total_parameters"], int) and properties["mlm:total_parameters"] >= 0
    yield "batch", isinstance(properties["mlm:batch_size_suggestion"], int)
    yield "source", properties["mlm:pretrained"] is True and isinstance(properties["mlm:pretrained_source"], str)
    for tasks in (properties["mlm:tasks"], *(answered["tasks"] for answered in properties["mlm:output"])):
        yield "tasks", set(tasks) <= TASKS and len(set(tasks)) == len(tasks)


def _of_shapes(item: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    given, answered = item["properties"]["mlm:input"], item["properties"]["mlm:output"]
    yield "an input has what it must", all({"name", "bands", "input"} <= one.keys() and one["name"] for one in given)
    yield (
        "an output has what it must",
        all({"name", "tasks", "result"} <= one.keys() and one["name"] for one in answered),
    )
    for shape in (*(one["input"] for one in given), *(one["result"] for one in answered)):
        sizes, axes = shape["shape"], shape["dim_order"]
        yield "sizes", bool(sizes) and all(isinstance(size, int) and size >= -1 for size in sizes)
        yield "axes", len(set(axes)) == len(axes) == len(sizes)
        yield "words for axes", all(re.fullmatch(r"[a-z_-]+", axis) for axis in axes)
        yield "number type", shape["data_type"] in NUMBERS


def _of_classes(item: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for answered in item["properties"]["mlm:output"]:
        classes = answered["classification:classes"]
        for one in classes:
            yield (
                "a class has a number and a description",
                isinstance(one["value"], int) and bool(one.get("description")),
            )
            yield "a class's name is one word", re.fullmatch(r"[0-9A-Za-z_-]+", one["name"]) is not None
        yield "no class comes twice", len({json.dumps(one) for one in classes}) == len(classes)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_item_of_each_kind_meets_the_rules_of_the_extension(info: PackageInfo, profile: Profile, kind: str) -> None:
    assert broken_rules(item_of(info, profile.accuracy, kind)) == []


@pytest.mark.parametrize("package", SHIPPED, ids=lambda path: path.parent.name)
def test_the_item_of_what_ships_meets_the_rules_as_it_would_be_written_today(package: Path) -> None:
    from exporters.package import load_package

    loaded = load_package(package.parent, trust=package.parents[2] / "keys")
    item = stac_item(loaded.info, loaded.profile.accuracy, framework_version=loaded.info.created_by["onnx"])
    assert broken_rules(item) == []


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (
            lambda item: item["assets"]["model"].pop("mlm:artifact_type"),
            "a model, and it alone, says what artifact it is",
        ),
        (
            lambda item: item["assets"]["model"].update({"mlm:name": "x"}),
            "an asset has no field that is none or an item's",
        ),
        (
            lambda item: item["properties"].update({"mlm:compile_method": "aot"}),
            "an item has no field that is none or an",
        ),
        (lambda item: item["properties"].pop("bands"), "bands are described, as STAC 1.1 does"),
        (lambda item: item["properties"].update({"mlm:framework_version": "1.24.0rc1"}), "version"),
    ],
)
def test_the_rules_see_what_breaks_them(info: PackageInfo, profile: Profile, spoil: Any, rule: str) -> None:
    item = item_of(info, profile.accuracy)
    spoil(item)
    assert [broken for broken in broken_rules(item) if broken.startswith(rule)]


def test_names_versions_and_classes_are_put_as_the_extensions_take_them(info: PackageInfo, profile: Profile) -> None:
    odd = item_of(
        info,
        profile.accuracy,
        id="3.ünder water!",
        classes=("small vehicle", "storage-tank"),
        framework_version="1.24.0.dev20261101",
    )
    assert broken_rules(odd) == []
    properties = odd["properties"]
    assert properties["mlm:name"] == "model-3.-nder water"
    assert properties["mlm:framework_version"] == "1.24.0"
    assert properties["mlm:output"][0]["classification:classes"][0] == {
        "value": 0,
        "name": "small-vehicle",
        "description": "small vehicle",
    }
    assert "mlm:framework_version" not in item_of(info, profile.accuracy, framework_version="unknown")["properties"]


def test_bands_that_the_input_names_are_described(info: PackageInfo, profile: Profile) -> None:
    item = item_of(info, profile.accuracy)
    assert item["stac_version"].startswith("1.1.")
    for described in (item["properties"]["bands"], item["assets"]["model"]["bands"]):
        assert [band["name"] for band in described] == item["properties"]["mlm:input"][0]["bands"]


def test_a_licence_that_is_no_identifier_is_called_other(info: PackageInfo, profile: Profile) -> None:
    said = "research use; redistribution unclear"
    assert item_of(info, profile.accuracy, licence=said)["properties"]["license"] == "other"
    assert item_of(info, profile.accuracy, licence="CC-BY-4.0")["properties"]["license"] == "CC-BY-4.0"


def test_pystac_reads_the_item_and_its_core_schema_holds(info: PackageInfo, profile: Profile) -> None:
    pytest.importorskip("jsonschema")
    variant = Variant(
        engine="tensorrt",
        file="model.tensorrt.onnx",
        expected_file="golden/expected.tensorrt.npy",
        tolerance_abs=0.02,
        precision="float16",
        accuracy=profile.accuracy,
    )
    physical = InputSpec(name="tiles", dtype="float32", tile_edge_px=32, bands=("red", "dem"))
    item = item_of(info, profile.accuracy, variants=(variant,), input=physical)
    assert broken_rules(item) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        read = pystac.Item.from_dict(item, migrate=False)
        checker = pystac.validation.stac_validator.JsonSchemaSTACValidator()
        checker.validate_core(read.to_dict(include_self_link=False), pystac.STACObjectType.ITEM, "1.1.0")
    assert sorted(read.assets) == ["model", "model-tensorrt"]
    assert read.properties["mlm:input"][0]["input"]["data_type"] == "float32"


def test_the_extension_for_pystac_finds_its_fields(info: PackageInfo, profile: Profile) -> None:
    mlm = pytest.importorskip("pystac.extensions.mlm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        item = item_of(info, profile.accuracy)
        found = mlm.MLMExtension.ext(pystac.Item.from_dict(item, migrate=False))
        assert (found.mlm_name, found.framework, found.tasks) == (info.id, "ONNX", ["scene-classification"])
        assert found.input[0].input.shape == item["properties"]["mlm:input"][0]["input"]["shape"]
        assert [one.description for one in found.output[0].classes] == list(info.classes)
