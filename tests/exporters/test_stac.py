"""The package as a STAC item: pystac reads it, its core schema holds, and what the MLM extension demands is there.

The schema of MLM 1.4 lies on the network; what it demands of an item is written here rule by rule.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any

import pytest

from exporters.records import Accuracy, InputSpec, OutputSpec, PackageInfo, Profile, Variant
from exporters.stac import stac_item

pystac = pytest.importorskip("pystac")

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
}
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
    return stac_item(replace(info, output=output, task=KINDS[kind], **changes), accuracy, framework_version="1.20.1")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_item_of_each_kind_meets_the_rules_of_the_extension(info: PackageInfo, profile: Profile, kind: str) -> None:
    item = item_of(info, profile.accuracy, kind)
    properties = item["properties"]
    assert {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"} <= properties.keys()
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", properties["mlm:name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?", properties["mlm:framework_version"])
    assert set(properties["mlm:tasks"]) <= TASKS
    (given,), (answered,) = properties["mlm:input"], properties["mlm:output"]
    assert {"name", "bands", "input"} <= given.keys()
    assert {"name", "tasks", "result"} <= answered.keys()
    assert set(answered["tasks"]) <= TASKS
    for shape in (given["input"], answered["result"]):
        assert len(shape["shape"]) == len(shape["dim_order"]) == len(set(shape["dim_order"]))
        assert all(size >= -1 for size in shape["shape"])
        assert all(re.fullmatch(r"[a-z_-]+", axis) for axis in shape["dim_order"])
        assert shape["data_type"] in ("uint8", "float32")
    models = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    assert models
    assert all(asset["mlm:artifact_type"] for asset in models)


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        read = pystac.Item.from_dict(item, migrate=False)
        checker = pystac.validation.stac_validator.JsonSchemaSTACValidator()
        checker.validate_core(read.to_dict(include_self_link=False), pystac.STACObjectType.ITEM, "1.1.0")
    assert sorted(read.assets) == ["model", "model-tensorrt"]
    assert read.properties["mlm:input"][0]["input"]["data_type"] == "float32"
