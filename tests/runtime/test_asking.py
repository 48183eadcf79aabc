"""Words in, tiles and answers out: the index, the text side, the questions, the records and the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from exporters.keys import load_private, new_key
from exporters.package import Golden, ModelPackage, OutputSpec, load_package, write_package
from runtime import cli
from runtime.asking import ask_scene, search_scenes
from runtime.errors import EngineError, FrameError, MissionError, StoreError
from runtime.records import Footprint, Product, TileRef
from runtime.tasks.ask import Asker, serve_ask
from runtime.tasks.request import UplinkRequest
from runtime.tasks.search import Searcher, boost, relevance, serve_search
from runtime.text_index import TextIndex

EDGE = 16
WORDS = "blue\ngreen\nmany\nred\n"
SEARCH = ("text.onnx", "vocabulary.txt")
ASK = ("answer.onnx", "vocabulary.txt", "answers.txt")


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, NDArray[Any]]) -> bytes:
    import onnx
    from onnx import helper

    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "asked", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _tile_graph() -> bytes:
    """Mean of each band as a unit vector."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "little"], ["some"]),
        helper.make_node("LpNormalization", ["some"], ["vector"], axis=1),
    ]
    tiles = helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["n", 3, EDGE, EDGE])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 3])
    constants = {"axes": np.array([2, 3]), "little": np.full(3, 1e-3, dtype=np.float32)}
    return _model(nodes, [tiles], [vector], constants)


def _text_graph() -> bytes:
    """Sum of the words' colours; padding and unknown words add next to nothing."""
    from onnx import TensorProto, helper

    table = np.full((6, 3), 1e-3, dtype=np.float32)
    table[[2, 3, 5], [2, 1, 0]] = 1.0  # blue, green, red
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axis"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["vector"], axis=1),
    ]
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "length"])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 3])
    words = helper.make_tensor_value_info("words", TensorProto.FLOAT, ["n", "length", 3])
    return _model(nodes, [tokens], [vector, words], {"table": table, "axis": np.array([1])})


def _answer_graph() -> bytes:
    """The tile's colours as shares of three answers; every question is open if its first word is ``many``."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Mul", ["features", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"], axis=1),
        helper.make_node("Gather", ["question", "zero"], ["first"], axis=1),
        helper.make_node("Equal", ["first", "many"], ["same"]),
        helper.make_node("Cast", ["same"], ["open"], to=TensorProto.FLOAT),
    ]
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("question", TensorProto.INT64, ["n", 16]),
    ]
    outputs = [
        helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("open", TensorProto.FLOAT, ["n"]),
    ]
    constants = {"ten": np.float32([10.0]), "zero": np.array(0), "many": np.array(4)}
    return _model(nodes, inputs, outputs, constants)


@pytest.fixture
def package(make_package: Callable[..., ModelPackage], tmp_path: Path) -> ModelPackage:
    """A package of both kinds of companions."""
    plain = make_package(EDGE, name="plain")
    vector = (plain.golden.tiles.astype(np.float32).mean((2, 3)) + 1e-3).astype(np.float32)
    expected = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    info = replace(
        plain.info,
        id="asked",
        task="search",
        classes=(),
        output=OutputSpec(name="vector", kind="embedding", channels=3),
    )
    accuracy = replace(plain.profile.accuracy, recall_by_class={}, confusion=())
    files = {
        "text.onnx": _text_graph(),
        "vocabulary.txt": WORDS.encode(),
        "answer.onnx": _answer_graph(),
        "answers.txt": b"red\ngreen\nblue\n",
    }
    key = load_private(new_key(tmp_path / "keys", "test")[0])
    write_package(
        tmp_path / "packages" / "asked",
        onnx=_tile_graph(),
        info=info,
        profile=replace(plain.profile, accuracy=accuracy),
        golden=Golden(plain.golden.tiles, expected, 1e-5),
        key=key,
        more=files,
    )
    return load_package(tmp_path / "packages" / "asked", trust=tmp_path / "keys")


@pytest.fixture
def scene(write_tiff: Callable[..., Path]) -> Path:
    """Four tiles: red, green, blue, red and green."""
    pixels = np.zeros((3, 2 * EDGE, 2 * EDGE), dtype=np.uint8)
    pixels[0, :EDGE, :EDGE] = pixels[1, :EDGE, EDGE:] = pixels[2, EDGE:, :EDGE] = 200
    pixels[:2, EDGE:, EDGE:] = 150
    return write_tiff("colours.tif", pixels)


def _refs(count: int) -> list[TileRef]:
    return [TileRef("frame", 0, 16 * n, 16) for n in range(count)]


def _unit(count: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_the_index_finds_what_plain_arithmetic_finds(tmp_path: Path) -> None:
    vectors = _unit(700, 33)
    vectors[3, :4] = (1.0, -1.0, 0.0, 6e-8)  # the ends of float16
    index = TextIndex.open(tmp_path / "index", network="one", dim=33, capacity=1000)
    index.add(_refs(700), vectors, captured_unix_s=5.0)
    query = _unit(1, 33, seed=9)[0]
    wanted = vectors.astype(np.float16).astype(np.float32) @ query
    np.testing.assert_allclose(index.cosines(query)[:700], wanted, atol=1e-6)
    hits = index.search(query, 10)
    assert [hit.ref.col_px // 16 for hit in hits] == np.argsort(-wanted, kind="stable")[:10].tolist()
    assert hits[0].captured_unix_s == 5.0


def test_a_full_index_lets_the_oldest_tiles_go_and_survives_closing(tmp_path: Path) -> None:
    index = TextIndex.open(tmp_path, network="one", dim=4, capacity=5)
    place = Footprint(((8.0, 50.0), (9.0, 50.0), (9.0, 51.0), (8.0, 51.0), (8.0, 50.0)))
    index.add(_refs(7), _unit(7, 4), captured_unix_s=0.0, footprints=[place] * 7)
    index.flush()
    again = TextIndex.read(tmp_path)
    hits = again.search(_unit(1, 4)[0], 99)
    assert len(again) == len(hits) == 5
    assert {hit.ref.col_px // 16 for hit in hits} == {2, 3, 4, 5, 6}
    assert (hits[0].longitude_deg, hits[0].latitude_deg) == (8.5, 50.5)


def test_a_torn_row_is_not_there(tmp_path: Path) -> None:
    index = TextIndex.open(tmp_path, network="one", dim=4, capacity=5)
    index.add(_refs(3), _unit(3, 4), captured_unix_s=0.0)
    index.flush()
    with (tmp_path / "vectors.f16").open("r+b") as file:
        file.seek(8)
        file.write(b"\x00\x01")
    assert len(TextIndex.read(tmp_path)) == 2


def test_an_index_refuses_what_it_cannot_compare(tmp_path: Path) -> None:
    index = TextIndex.open(tmp_path / "a", network="one", dim=4, capacity=5)
    with pytest.raises(StoreError, match="two networks cannot be compared"):
        TextIndex.open(tmp_path / "a", network="two", dim=4)
    with pytest.raises(StoreError, match="finite"):
        index.add(_refs(1), np.full((1, 4), np.nan, dtype=np.float32), captured_unix_s=0.0)
    with pytest.raises(StoreError, match="give \\(4,\\) with a length"):
        index.search(np.zeros(4, dtype=np.float32), 1)
    with pytest.raises(StoreError, match="no index in"):
        TextIndex.read(tmp_path / "none")
    (tmp_path / "a" / "index.json").write_text("[]")
    with pytest.raises(StoreError, match="no index of tiles"):
        TextIndex.read(tmp_path / "a")


def test_a_text_finds_the_tile_that_shows_it(package: ModelPackage, scene: Path) -> None:
    found = search_scenes(package, "Green!", [scene], count=2)
    assert found.searched == 4
    assert [(hit.ref.row_px, hit.ref.col_px) for hit in found.hits] == [(0, EDGE), (EDGE, EDGE)]
    assert found.packed_byte == 2
    assert found.hits[0].cosine == pytest.approx(1.0, abs=1e-3)
    assert "colours row 0 col 16" in found.table()


def test_an_index_kept_on_disk_is_searched_without_scenes(package: ModelPackage, scene: Path, tmp_path: Path) -> None:
    search_scenes(package, "red", [scene], index=tmp_path / "index")
    found = search_scenes(package, "blue", [], index=tmp_path / "index", count=1)
    assert (found.hits[0].ref.row_px, found.hits[0].ref.col_px) == (EDGE, 0)
    with pytest.raises(MissionError, match="nothing to search"):
        search_scenes(package, "blue", [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no words"),
        (" ?!", "has no words"),
        ("zebra crossing", "knows none of"),
        ("red zebra zoo", "does not know"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused_in_clear_words(package: ModelPackage, text: str, why: str) -> None:
    with pytest.raises(MissionError, match=why):
        Searcher.open(package).understand(text)


def test_a_package_without_words_cannot_be_asked(make_package: Callable[..., ModelPackage]) -> None:
    plain = make_package(EDGE, name="mute")
    with pytest.raises(EngineError, match="cannot be asked in words"):
        Searcher.open(plain)
    with pytest.raises(EngineError, match="cannot be questioned"):
        Asker.open(plain)


def test_tiles_that_have_to_do_with_a_text_are_worth_more() -> None:
    refs = _refs(3)
    products = [
        Product(f"p{n}", 0, "label", "x", 0.5, 1.0, None, 0.0, ref.frame_id, ref.row_px, ref.col_px, 16, "id", "0" * 64)
        for n, ref in enumerate(refs)
    ]
    fractions = relevance(np.array([0.2, 0.2, 0.4], dtype=np.float32))
    raised = boost(products, dict(zip(refs, fractions.tolist(), strict=True)), 4.0)
    assert [(product.product_id, product.value) for product in raised] == [("p2", 5.0)]
    assert relevance(np.full(3, 0.7, dtype=np.float32)).tolist() == [0.0, 0.0, 0.0]
    larger = boost(products, {TileRef("frame", 0, 0, 32): 0.5}, 4.0)
    assert [(product.product_id, product.value) for product in larger] == [("p0", 3.0), ("p1", 3.0)]
    with pytest.raises(MissionError, match="above 0"):
        boost(products, {}, float("nan"))


def test_a_request_from_the_ground_raises_what_it_describes(package: ModelPackage, scene: Path, tmp_path: Path) -> None:
    search_scenes(package, "red", [scene], index=tmp_path / "index")
    index, searcher = TextIndex.read(tmp_path / "index"), Searcher.open(package)
    pending = [
        Product(f"p{row}{col}", 0, "label", "x", 0.5, 1.0, None, 0.0, "colours", 16 * row, 16 * col, 8, "id", "0" * 64)
        for row in (0, 1)
        for col in (0, 1)
    ]
    asked = UplinkRequest(request_id="r", kind="search", text="green", worth=2.0, count=2)
    hits, raised = serve_search(UplinkRequest.decode(asked.encode()), searcher, index, pending)
    assert len(hits) == 2
    assert raised[0].product_id == "p01"
    assert raised[0].value == pytest.approx(3.0)
    elsewhere = replace(asked, frame_id="another")
    assert serve_search(elsewhere, searcher, index, pending) == ([], [])
    with pytest.raises(MissionError, match="not search"):
        serve_search(replace(asked, kind="ask"), searcher, index, pending)


def test_a_question_gets_an_answer_its_confidence_and_its_tile(package: ModelPackage, scene: Path) -> None:
    result = ask_scene(package, "Many red?", scene)
    assert result.best is not None
    assert (result.best.answer, result.best.is_open) == ("red", True)
    assert (result.best.ref.row_px, result.best.ref.col_px) == (0, 0)
    assert 0.99 < result.best.confidence <= 1.0
    assert len(result.answers) == 4
    assert not Asker.open(package).understand("red").unknown


def test_a_question_from_the_ground_is_answered_from_what_was_seen_last(
    package: ModelPackage, scene: Path, tmp_path: Path
) -> None:
    search_scenes(package, "red", [scene], index=tmp_path / "index")
    index, asker = TextIndex.read(tmp_path / "index"), Asker.open(package)
    request = UplinkRequest(request_id="q", kind="ask", text="many blue", worth=3.0, count=2)
    answers, product = serve_ask(request, asker, index, slot=7)
    assert [(one.ref.row_px, one.ref.col_px) for one in answers] == [(EDGE, EDGE), (EDGE, 0)]
    assert product is not None
    assert (product.label, product.row_px, product.col_px, product.slot) == ("blue", EDGE, 0, 7)
    assert product.value == pytest.approx(3.0 * product.score)
    assert serve_ask(replace(request, frame_id="another"), asker, index, slot=7) == ([], None)
    with pytest.raises(MissionError, match="not ask"):
        serve_ask(replace(request, kind="search"), asker, index, slot=7)


@pytest.mark.parametrize(
    ("question", "why"),
    [("?", "has no words"), ("Is there a red roof", "does not know"), ("red " * 17, "17 words")],
)
def test_a_question_outside_the_vocabulary_is_refused(package: ModelPackage, question: str, why: str) -> None:
    with pytest.raises(MissionError, match=why):
        Asker.open(package).understand(question)


def test_a_request_is_small_and_comes_back_the_same() -> None:
    request = UplinkRequest(request_id="r1", kind="search", text="a harbour with ships", worth=3.0)
    assert UplinkRequest.decode(request.encode()) == request
    assert len(request.encode()) < 100
    for wrong in (
        b"", b"[]", b"{}", b'{"schema":1}', b'{"schema":1,"request_id":"r","kind":"search","text":"a","count":true}',
        b'{"schema":1,"request_id":"r","kind":"fly","text":"a"}',
        b'{"schema":1,"request_id":"r","kind":"ask","text":" "}',
        b'{"schema":1,"request_id":"r","kind":"ask","text":"a","worth":-1}', b"x" * 2000,
    ):  # fmt: skip
        with pytest.raises(MissionError):
            UplinkRequest.decode(wrong)


def test_the_commands_answer_in_words_and_in_json(package: ModelPackage, scene: Path, tmp_path: Path) -> None:
    runner, given = CliRunner(), ["--package", str(package.path)]
    found = runner.invoke(
        cli.cli,
        ["query", "red", str(scene), *given, "--json", "--worth", "3", "--request", str(tmp_path / "up" / "r.json")],
    )
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["hits"][0]["col_px"] == 0
    request = UplinkRequest.decode((tmp_path / "up" / "r.json").read_bytes())
    assert (request.text, request.worth) == ("red", 3.0)
    refused = runner.invoke(cli.cli, ["query", "red", str(scene), *given, "--request", str(scene / "r.json")])
    assert (refused.exit_code, "is a file, and nothing can lie in it" in " ".join(refused.output.split())) == (2, True)
    said = runner.invoke(cli.cli, ["ask", "many blue", "--scene", str(scene), *given])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("'many blue' (open): ")
    assert "4 tiles: red 2, blue 1, green 1" in said.stdout


def test_tiles_without_data_are_not_asked_and_not_found(package: ModelPackage, write_tiff: Callable[..., Path]) -> None:
    pixels = np.zeros((3, 64, 128), dtype=np.uint8)
    nothing = write_tiff("nothing.tif", pixels, nodata=0)
    pixels[0, :, :EDGE] = 200
    half = write_tiff("half.tif", pixels, nodata=0)
    assert ask_scene(package, "many red", nothing).best is None
    assert {one.ref.col_px for one in ask_scene(package, "many red", half).answers} == {0}
    said = CliRunner().invoke(cli.cli, ["ask", "many red", "--scene", str(nothing), "--package", str(package.path)])
    assert (said.exit_code, "nothing could be looked at" in said.stdout) == (3, True)
    with pytest.raises(FrameError, match=r"No tile of nothing\.tif holds data"):
        search_scenes(package, "red", [nothing])
