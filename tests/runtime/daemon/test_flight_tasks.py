"""Tasks of every kind in one flight: valued by the mission, chained, asked by the ground, compared with references."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from exporters.package import Golden, InputSpec, OutputSpec, write_package
from power_sim.errors import ScenarioError
from runtime import cli
from runtime.daemon.mission import load_mission
from runtime.daemon.run import check_mission
from runtime.daemon.trace import fly_trace
from runtime.errors import MissionError
from runtime.ground.station import finish, opened
from runtime.status import table_of

EDGE = 16
MakeCraft = Callable[..., Any]
COLOURS = ("red", "green", "blue")
CHAIN = """
[[chain.stages]]
package = "colour"
[[chain.stages]]
package = "spots"
{rules}
[chain.stages.only_where]
classes = ["red"]
min_score = 0.5
"""


def graph(nodes: list[Any], output: list[Any], constants: dict[str, NDArray[Any]], bands: int = 3) -> bytes:
    """A network over float tiles called ``x`` that ends in ``out``."""
    import onnx
    from onnx import TensorProto, helper

    cast = helper.make_node("Cast", ["tiles"], ["x"], to=TensorProto.FLOAT)
    tiles = helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["n", bands, EDGE, EDGE])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", *output])
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph([cast, *nodes], "small", [tiles], [out], tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **attributes)


def write(
    craft: Any,
    name: str,
    onnx: bytes,
    *,
    task: str,
    output: OutputSpec,
    classes: tuple[str, ...] = (),
    bands: tuple[str, ...] = COLOURS,
    more: Mapping[str, bytes] | None = None,
    profile: Mapping[str, float] | None = None,
) -> None:
    """A signed package of any kind whose golden answers are ONNX Runtime's own."""
    import onnxruntime

    tiles = np.random.default_rng(5).integers(0, 256, (3, len(bands), EDGE, EDGE), dtype=np.uint8)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    answers = np.asarray(session.run(None, {"tiles": tiles})[0])
    plain, given = craft.colours.colour_profile(), profile or {}
    entry = replace(
        plain.measurements[0], energy_j_per_tile=given.get("energy_j", 1e-3), tile_s=given.get("tile_s", 1e-4)
    )
    accuracy = replace(
        plain.accuracy, value=given.get("accuracy", 0.9), recall_by_class=dict.fromkeys(classes, 1.0), confusion=()
    )
    info = replace(
        craft.colours.colour_info(EDGE),
        id=name,
        version=1,
        task=task,
        classes=classes,
        output=output,
        input=InputSpec(name="tiles", tile_edge_px=EDGE, bands=bands),
    )
    write_package(
        craft.folder / "packages" / name,
        onnx=onnx,
        info=info,
        profile=replace(plain, accuracy=accuracy, measurements=(entry,)),
        golden=Golden(tiles, answers, 1e-5),
        key=craft.key,
        more=more or {},
        replace=True,
    )


def write_colour(craft: Any, **profile: float) -> None:
    spec = OutputSpec(name="probabilities")
    write(
        craft,
        "colour",
        craft.colours.colour_graph(EDGE),
        task="classification",
        output=spec,
        classes=COLOURS,
        profile=profile,
    )


def write_spots(craft: Any, **profile: float) -> None:
    spec = OutputSpec(name="found", kind="boxes")
    write(
        craft, "spots", craft.colours.spot_graph(EDGE), task="detection", output=spec, classes=COLOURS, profile=profile
    )


def write_pixels(craft: Any, name: str, task: str, kind: str, **more: Any) -> None:
    """Pictures of one sort or another: the first band as values, the negative, or all bands as scores."""
    whole = [node("Sub", ["full", "x"], ["out"])] if kind == "image" else [node("Mul", ["x", "one"], ["out"])]
    first = [node("Slice", ["x", "zero", "one_i", "axis"], ["out"])]
    constants = {
        "image": {"full": np.array([255.0], dtype=np.float32)},
        "mask": {"one": np.array([1.0], dtype=np.float32)},
        "map": {"zero": np.array([0]), "one_i": np.array([1]), "axis": np.array([1])},
    }[kind]
    channels = {"image": 3, "mask": 3, "map": 1}[kind]
    plain = OutputSpec(name="out", kind=kind)
    spec = replace(plain, unit="m", channels=1) if kind == "map" else plain
    nodes = first if kind == "map" else whole
    write(craft, name, graph(nodes, [channels, EDGE, EDGE], constants), task=task, output=spec, **more)


def write_asked(craft: Any) -> None:
    """Vectors that are the tile's colour, words that are colours, and answers that are the strongest colour."""
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        node("Add", ["mean", "little"], ["some"]),
        node("LpNormalization", ["some"], ["out"], axis=1),
    ]
    onnx = graph(nodes, [3], {"axes": np.array([2, 3]), "little": np.full(3, 1e-3, dtype=np.float32)})
    spec = OutputSpec(name="out", kind="embedding", channels=3)
    more = {
        "text.onnx": text_graph(),
        "vocabulary.txt": b"blue\ngreen\nmany\nred\n",
        "answer.onnx": answer_graph(),
        "answers.txt": b"red\ngreen\nblue\n",
    }
    write(craft, "asked", onnx, task="search", output=spec, more=more)


def text_graph() -> bytes:
    import onnx
    from onnx import TensorProto, helper

    table = np.full((6, 3), 1e-3, dtype=np.float32)
    table[[2, 3, 5], [2, 1, 0]] = 1.0  # blue, green, red
    nodes = [
        node("Gather", ["table", "tokens"], ["words"]),
        node("ReduceSum", ["words", "axis"], ["sum"], keepdims=0),
        node("LpNormalization", ["sum"], ["vector"], axis=1),
    ]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in (("table", table), ("axis", np.array([1])))]
    made = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "length"])],
        [
            helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("words", TensorProto.FLOAT, ["n", "length", 3]),
        ],
        tensors,
    )
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())


def answer_graph() -> bytes:
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        node("Mul", ["features", "ten"], ["logits"]),
        node("Softmax", ["logits"], ["shares"], axis=1),
        node("Gather", ["question", "zero"], ["first"], axis=1),
        node("Equal", ["first", "many"], ["same"]),
        node("Cast", ["same"], ["open"], to=TensorProto.FLOAT),
    ]
    values = {"ten": np.array([10.0], dtype=np.float32), "zero": np.array(0), "many": np.array(4)}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    made = helper.make_graph(
        nodes,
        "answer",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("question", TensorProto.INT64, ["n", 16]),
        ],
        [
            helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("open", TensorProto.FLOAT, ["n"]),
        ],
        tensors,
    )
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())


def pool(*names: str) -> str:
    figures = "accuracy_min_frac = 0.9\naccuracy_max_frac = 0.9\nenergy_min_j = 0.001\nenergy_max_j = 0.001\n"
    times = "time_min_s = 0.0001\ntime_max_s = 0.0001\n"
    return "".join(f'[[pool.models]]\nname = "{name}"\npackage_id = "{name}"\n{figures}{times}\n' for name in names)


def prepared(make_craft: MakeCraft, names: tuple[str, ...], more: str = "") -> Any:
    """A craft that does not fly yet, its pool replaced."""
    craft = make_craft(start=False)
    text = re.sub(r"(?s)\[\[pool\.models\]\].*?(?=\[policy\])", pool(*names), craft.mission.read_text(), count=1)
    craft.mission.write_text(text + more)
    return craft


def products_of(craft: Any) -> list[Any]:
    return list(craft.daemon._aboard.store.products())


def test_the_task_that_is_worth_more_is_chosen_and_its_products_carry_its_worth(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("colour", "spots"), "[tasks.detect]\nvalue = 3.0\n[tasks.classification]\n")
    write_colour(craft, accuracy=0.9)
    write_spots(craft, accuracy=0.6)
    craft.start()
    craft.image(rows=32, cols=32, fill=(200, 0, 0), place=(9.0, 47.8))
    craft.fly()
    assert craft.slot()["model"] == "spots"
    assert craft.slot()["expected_accuracy_frac"] == pytest.approx(0.6)
    assert {(one.kind, round(one.value / one.score, 6)) for one in products_of(craft)} == {("geometry", 6.0)}
    assert "detection: boxes" in table_of(craft.daemon.status)
    mission = craft.mission.read_text().replace("value = 3.0", "value = 1.0")
    craft.mission.write_text(mission)
    craft.daemon._read_again()
    craft.image("again.tif", rows=32, cols=32, fill=(190, 0, 0), place=(9.0, 47.8))
    craft.fly()
    assert craft.slot()["model"] == "colour"
    again = fly_trace(craft.folder / "state" / "trace.jsonl")
    assert (again.slots, again.differences) == (2, ())


def test_what_a_mission_says_of_tasks_is_checked(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("colour",), "[tasks.detect]\nvalue = 3.0\n")
    write_colour(craft)
    with pytest.raises(MissionError, match=r"\[tasks.detect\].*classification"):
        check_mission(craft.mission)
    craft.mission.write_text(craft.mission.read_text().replace("value = 3.0", "value = -1.0"))
    with pytest.raises(ScenarioError, match="out of range"):
        load_mission(craft.mission)


def write_big(craft: Any) -> None:
    """The colour network for tiles twice as large."""
    tiles = np.random.default_rng(5).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    craft.package(
        craft.folder / "packages" / "big",
        "big",
        craft.key,
        onnx=craft.colours.colour_graph(32),
        golden=Golden(tiles, craft.colours.colour_answers(tiles), 1e-5),
        info=craft.colours.colour_info(32),
        accuracy=0.5,
    )


def test_networks_of_small_tiles_fly_beside_those_of_large_ones(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("colour", "big"))
    write_colour(craft, accuracy=0.95)
    write_big(craft)
    craft.start()
    craft.image(rows=64, cols=64, place=(9.0, 47.8))
    craft.fly()
    assert (craft.slot()["model"], craft.slot()["admitted_tile"]) == ("colour", 4)
    assert craft.slot()["energy_j"] == pytest.approx(16e-3)
    assert [one.edge_px for one in products_of(craft)] == [16] * 16


def test_a_frame_that_waits_is_cut_anew_where_the_networks_of_the_next_start_are_larger(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("colour",))
    write_colour(craft)
    craft.start()
    craft.daemon._aboard.orders.paused = True
    craft.image(rows=64, cols=64, place=(9.0, 47.8))
    craft.fly()
    craft.stop()
    write_big(craft)
    text = craft.mission.read_text()
    craft.mission.write_text(text.replace('"colour"', '"big"'))
    craft.start()
    craft.fly()
    counts = craft.daemon.status["counts"]
    assert (craft.slot()["queued_tile"], counts["done_tile"], counts["failed_tile"]) == (4, 4, 0)


@pytest.mark.parametrize(
    ("name", "task", "kind", "word"),
    [
        ("depths", "terrain", "map", "height"),
        ("oddities", "anomaly", "map", "anomaly"),
        ("clearer", "restoration", "image", "image"),
        ("covers", "segmentation", "mask", "mask"),
        ("asked", "search", "embedding", "embedding"),
    ],
)
def test_products_of_every_kind_reach_the_ground_with_their_pictures(
    make_craft: MakeCraft, name: str, task: str, kind: str, word: str
) -> None:
    craft = prepared(make_craft, (name,), "[downlink]\npictures_per_slot = 2\n")
    if kind == "embedding":
        write_asked(craft)
    else:
        write_pixels(craft, name, task, kind, classes=COLOURS if kind == "mask" else ())
    craft.start()
    craft.image(rows=32, cols=32, place=(9.0, 47.8))
    craft.daemon._aboard.orders.contact = True
    with opened(craft.folder / "station") as (archive, receiver):
        from runtime.ground.direct import DirectLink

        craft.daemon.wired.radio._link = DirectLink(receiver)
        craft.fly(2)
        craft.daemon.wired.radio.close()
        report = finish(craft.folder / "station", archive, receiver)
    maps = 2 if kind == "map" else 0
    assert (report.products, report.files) == (4, 2 + maps)
    features = json.loads((craft.folder / "station" / "products.geojson").read_text())["features"]
    assert {(one["properties"]["kind"], one["geometry"]["type"]) for one in features} == {(word, "Polygon")}
    assert sum("picture" in one["properties"] for one in features) == 2
    values = [one for one in features if "values" in one["properties"]]
    assert len(values) == maps
    for one in values:
        check_values(craft.folder / "station" / one["properties"]["values"], one)


def check_values(path: Path, feature: dict[str, Any]) -> None:
    """What came down are the first band's values, where the product says."""
    import rasterio

    with rasterio.open(path) as source:
        values, (points, _) = source.read(), source.gcps
        assert source.units == ("m",)
    assert values.shape == (1, EDGE, EDGE)
    assert 200 < values.max() <= 255
    ring = feature["geometry"]["coordinates"][0]
    assert [(pytest.approx(one.x), pytest.approx(one.y)) for one in points] == [tuple(corner) for corner in ring[:-1]]


def test_the_picture_of_a_restored_tile_is_the_restored_one(make_craft: MakeCraft) -> None:
    import rasterio

    craft = prepared(make_craft, ("clearer",), "[downlink]\npictures_per_slot = 1\n")
    write_pixels(craft, "clearer", "restoration", "image")
    craft.start()
    craft.image(rows=16, cols=16, fill=(200, 100, 5), place=(9.0, 47.8))
    craft.fly()
    (picture,) = (craft.folder / "state" / "pictures").glob("*-chip.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture has no place
        with rasterio.open(picture) as shown:
            assert [int(band[0, 0]) for band in shown.read()] == [55, 155, 250]


def test_a_chain_looks_closer_only_where_it_pays_and_is_charged_for_that_alone(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("chain",), CHAIN.format(rules=""))
    write_colour(craft, energy_j=0.001)
    write_spots(craft, energy_j=0.01, tile_s=0.001)
    craft.start()
    scene = craft.image(rows=32, cols=32, place=(9.0, 47.8))
    paint(scene, [(220, 5, 5), (5, 220, 5), (5, 5, 220), (230, 5, 5)])
    craft.fly()
    kinds = [(one.kind, one.label) for one in products_of(craft)]
    assert kinds.count(("geometry", "red")) == 2
    assert sum(kind == "label" for kind, _ in kinds) == 4
    assert craft.slot()["energy_j"] == pytest.approx(4 * 0.001 + 2 * 0.01)
    (row,) = craft.daemon.status["models"]
    assert row["stages"] == ["colour", "spots"]
    assert craft.daemon.wired.loop.worth_frac == {}
    assert craft.daemon.wired.fleet.networks["chain"].energy_j == pytest.approx(0.024 / 4)


def test_a_chain_keeps_to_the_budget_of_its_stages_in_a_slot(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("chain",), CHAIN.format(rules="most_tile = 3"))
    write_colour(craft)
    write_spots(craft)
    craft.start()
    craft.image(rows=64, cols=64, fill=(220, 5, 5), place=(9.0, 47.8))
    craft.fly()
    assert sum(one.kind == "geometry" for one in products_of(craft)) == 3
    craft.image("next.tif", rows=64, cols=64, fill=(210, 5, 5), place=(9.0, 47.8))
    craft.fly()
    assert sum(one.kind == "geometry" for one in products_of(craft)) == 6


def test_what_a_chain_restores_is_what_its_next_stage_sees(make_craft: MakeCraft) -> None:
    craft = prepared(
        make_craft, ("chain",), '[[chain.stages]]\npackage = "clearer"\n[[chain.stages]]\npackage = "colour"\n'
    )
    write_pixels(craft, "clearer", "restoration", "image")
    write_colour(craft)
    craft.start()
    craft.image(rows=16, cols=16, fill=(5, 250, 250), place=(9.0, 47.8))
    craft.fly()
    assert [(one.kind, one.label) for one in products_of(craft)] == [("label", "red")]


@pytest.mark.parametrize(("forbid", "found"), [("true", 2), ("false", 4)])
def test_nothing_is_said_of_pixels_that_a_stage_of_a_chain_made_up(
    make_craft: MakeCraft, forbid: str, found: int
) -> None:
    stages = '[[chain.stages]]\npackage = "filler"\n[[chain.stages]]\npackage = "spots"\n'
    craft = prepared(make_craft, ("chain",), f"[chain]\nforbid_detection_on_generated = {forbid}\n{stages}")
    write_filler(craft)
    write_spots(craft)
    craft.start()
    scene = craft.image(rows=32, cols=32, place=(9.0, 47.8))
    paint(scene, [(250, 5, 5), (150, 5, 5), (150, 5, 5), (250, 5, 5)])
    craft.fly()
    assert [one.kind for one in products_of(craft)] == ["geometry"] * found
    assert craft.daemon.status["counts"]["done_tile"] == 4


def write_filler(craft: Any) -> None:
    """A network that gives a tile back and calls made up what is redder than 200."""
    nodes = [
        node("Slice", ["x", "zero", "one", "one"], ["red"]),
        node("Greater", ["red", "limit"], ["bright"]),
        node("Cast", ["bright"], ["made_up"], to=1),
        node("Concat", ["x", "made_up"], ["out"], axis=1),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "limit": np.array([200.0], dtype=np.float32)}
    spec = OutputSpec(name="out", kind="map", unit="1", channels=4)
    write(craft, "filler", graph(nodes, [4, EDGE, EDGE], constants), task="declouded", output=spec)


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (("chain",), "", r"\[\[chain.stages\]\]"),
        (("colour",), '[[chain.stages]]\npackage = "colour"\n', "package_id = 'chain'"),
        (("chain",), '[[chain.stages]]\npackage = "colour"\nmost = 1\n', "most"),
        (("chain",), "[chain]\n", "no stages"),
    ],
)
def test_a_chain_that_is_none_is_refused(make_craft: MakeCraft, names: tuple[str, ...], more: str, words: str) -> None:
    craft = prepared(make_craft, names, more)
    with pytest.raises(ScenarioError, match=words):
        load_mission(craft.mission)


def paint(scene: Path, colours: list[tuple[int, int, int]]) -> None:
    """Fill the four quarters of a scene."""
    import rasterio

    with rasterio.open(scene, "r+") as target:
        pixels = np.zeros((3, 32, 32), dtype=np.uint8)
        for number, colour in enumerate(colours):
            row, col = divmod(number, 2)
            pixels[:, row * 16 : row * 16 + 16, col * 16 : col * 16 + 16] = np.array(colour)[:, None, None]
        target.write(pixels)


def asked_craft(make_craft: MakeCraft) -> Any:
    craft = prepared(make_craft, ("asked",))
    write_asked(craft)
    craft.start()
    scene = craft.image(rows=32, cols=32, place=(9.0, 47.8))
    paint(scene, [(220, 5, 5), (5, 220, 5), (5, 5, 220), (120, 110, 5)])
    return craft


def command(craft: Any, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli.cli, [*arguments, "--uplink", str(craft.mission), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


def test_a_query_of_the_ground_makes_the_tiles_that_it_describes_go_first(make_craft: MakeCraft) -> None:
    craft = asked_craft(make_craft)
    told = command(craft, "query", "green", "--worth", "50")
    craft.fly()
    assert Path(told["file"]).is_file(), "it waits: nothing was indexed when the slot began"
    craft.fly()
    assert list((craft.folder / "uplink").iterdir()) == []
    best, *others = craft.daemon._aboard.store.pending(5)
    answer = next(one for one in (best, *others) if one.kind == "answer")
    assert answer.label == f"{told['request_id']}: 4 tiles found, 2 products gain"
    assert (answer.row_px, answer.col_px) == (0, 16)
    raised = max(products_of(craft), key=lambda one: one.value * (one.kind == "embedding"))
    assert (raised.row_px, raised.col_px, raised.value) == (0, 16, pytest.approx(51.0))
    counts = craft.daemon.status["counts"]
    assert (counts["served_request"], counts["raised_product"]) == (1, 2)
    assert "1 request served" in table_of(craft.daemon.status)


def test_a_question_of_the_ground_is_answered_by_a_product(make_craft: MakeCraft) -> None:
    craft = asked_craft(make_craft)
    craft.fly()
    told = command(craft, "ask", "many red")
    craft.fly()
    (answer,) = [one for one in products_of(craft) if one.kind == "answer"]
    assert answer.label.startswith(f"{told['request_id']}: ")
    assert answer.label.split(": ")[1] in COLOURS
    assert answer.frame_id.startswith("scene-")


def test_a_request_that_no_network_aboard_can_serve_is_answered_so(make_craft: MakeCraft) -> None:
    craft = make_craft()
    craft.fly()
    uplink = craft.folder / "uplink"
    uplink.mkdir(exist_ok=True)
    (uplink / "q.request.json").write_bytes(
        b'{"schema": 1, "request_id": "q", "kind": "ask", "text": "is there a road"}'
    )
    craft.fly()
    (answer,) = [one for one in products_of(craft) if one.kind == "answer"]
    assert answer.label == "q: refused: no network aboard can ask"
    assert answer.package_id == ""


def test_requests_that_cannot_be_served_are_counted_and_cost_nothing_else(make_craft: MakeCraft) -> None:
    craft = asked_craft(make_craft)
    craft.fly()
    uplink = craft.folder / "uplink"
    uplink.mkdir(exist_ok=True)
    for name, content in {
        "a": b"{",
        "b": b'{"schema": 1, "request_id": "b", "kind": "sing", "text": "x"}',
        "c": b"x" * 5000,
        "d": b'{"schema": 1, "request_id": "d", "kind": "search", "text": "zebra"}',
        "e": b'{"schema": 1, "request_id": "e", "kind": "search", "text": "red", "until_unix_s": 1.0}',
    }.items():
        (uplink / f"{name}.request.json").write_bytes(content)
    (uplink / "other.json").write_bytes(b"{}")
    craft.fly()
    assert craft.daemon.status["counts"]["refused_request"] == 5
    assert [path.name for path in uplink.iterdir()] == ["other.json"]
    (answer,) = [one for one in products_of(craft) if one.kind == "answer"]
    assert answer.label.startswith("d: refused: ")
    assert craft.daemon.diary.fault == ""


def test_an_index_of_another_version_begins_anew(make_craft: MakeCraft) -> None:
    craft = asked_craft(make_craft)
    craft.fly()
    craft.stop()
    head = craft.folder / "state" / "indexes" / "asked" / "index.json"
    head.write_text(head.read_text().replace("asked ", "older "))
    craft.start()
    craft.image("more.tif", rows=16, cols=16, place=(9.0, 47.8))
    craft.fly()
    assert "begins anew" in craft.events()
    assert len(craft.daemon._aboard.indexes._open["asked"]) == 1


def test_change_is_told_against_older_references_alone(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("changes",), '[references]\nfolder = "references"\n')
    write_change(craft)
    texture = np.kron(np.random.default_rng(1).integers(40, 200, (3, 16, 16)), np.ones((1, 2, 2))).astype(np.uint8)
    raster(craft.folder / "references" / "old.tif", texture, "2020:01:01 00:00:00")
    (craft.folder / "references" / "notes.txt").write_text("not a raster")
    craft.start()
    changed = texture.copy()
    changed[:, 2:14, 2:14] = 255 - changed[:, 2:14, 2:14]
    raster(craft.folder / "inbox" / "new.tif", changed, "2026:02:01 00:00:00")
    craft.fly()
    (product,) = products_of(craft)
    assert (product.kind, product.label, product.row_px, product.col_px) == ("change", "change", 0, 0)
    counts = craft.daemon.status["counts"]
    assert (counts["done_tile"], counts["shed_tile"], counts["failed_tile"]) == (4, 0, 0)
    raster(craft.folder / "inbox" / "older.tif", changed, "2019:01:01 00:00:00")
    craft.fly()
    assert craft.daemon.status["counts"]["shed_tile"] == 4
    assert len(products_of(craft)) == 1


def test_a_mission_without_usable_references_says_so_at_the_start(make_craft: MakeCraft) -> None:
    craft = prepared(make_craft, ("changes",), '[references]\nfolder = "references"\n')
    write_change(craft)
    with pytest.raises(MissionError, match=r"references\.folder"):
        craft.start()


def write_change(craft: Any) -> None:
    """A network that calls a pixel changed whose red differs by more than 60 between the dates."""
    nodes = [
        node("Slice", ["x", "at0", "at1", "axis"], ["old"]),
        node("Slice", ["x", "at3", "at4", "axis"], ["new"]),
        node("Sub", ["new", "old"], ["difference"]),
        node("Abs", ["difference"], ["size"]),
        node("Sub", ["size", "limit"], ["change"]),
        node("Neg", ["change"], ["same"]),
        node("Concat", ["same", "change"], ["out"], axis=1),
    ]
    constants = {name: np.array([int(name[2:])]) for name in ("at0", "at1", "at3", "at4")}
    bands = (*(f"reference_{name}" for name in COLOURS), *COLOURS)
    onnx = graph(
        nodes,
        [2, EDGE, EDGE],
        {**constants, "axis": np.array([1]), "limit": np.array([60.0], dtype=np.float32)},
        bands=len(bands),
    )
    spec = OutputSpec(name="out", kind="mask")
    write(craft, "changes", onnx, task="change", output=spec, classes=("unchanged", "change"), bands=bands)


def raster(path: Path, pixels: NDArray[np.uint8], date: str) -> None:
    """A GeoTIFF of 10 m pixels with its date."""
    import rasterio

    path.parent.mkdir(exist_ok=True)
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 32, "width": 32}
    profile |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0)}
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)
        target.update_tags(TIFFTAG_DATETIME=date)
