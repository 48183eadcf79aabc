from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from policies.cards import read_card, write_card
from policies.errors import PolicyFileError
from policies.network import Mlp, card_path, load_policy_file, save_policy_file

ABOUT = {
    "kind": "dqn",
    "layout": "l",
    "actions": ["a", "b"],
    "scenario": "s",
    "scenario_sha256": "0",
    "trained": {"steps": 1},
}


def network(seed: int = 0, *, inputs: int = 5, outputs: int = 2) -> Mlp:
    rng = np.random.default_rng(seed)
    sizes = [inputs, 8, outputs]
    weights = tuple(rng.normal(size=(n, m)).astype(np.float32) for n, m in pairwise(sizes))
    return Mlp(weights, tuple(rng.normal(size=m).astype(np.float32) for m in sizes[1:]))


def test_a_network_is_layers_with_relu_between_them() -> None:
    tiny = Mlp(
        (np.array([[1.0], [-1.0]], np.float32), np.array([[2.0]], np.float32)),
        (np.zeros(1, np.float32), np.array([0.5], np.float32)),
    )
    assert tiny(np.array([3.0, 1.0], np.float32)).tolist() == [4.5]
    assert tiny(np.array([1.0, 3.0], np.float32)).tolist() == [0.5]
    assert tiny(np.array([[3.0, 1.0], [1.0, 3.0]], np.float32)).tolist() == [[4.5], [0.5]]


def test_a_policy_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "p.npz"
    saved = save_policy_file(path, net, ABOUT)
    loaded = load_policy_file(path)
    row = np.arange(5, dtype=np.float32)
    assert loaded.sha256 == saved.sha256
    assert loaded.about["actions"] == ["a", "b"]
    np.testing.assert_array_equal(loaded.network(row), net(row))


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first = save_policy_file(tmp_path / "a.npz", network(), ABOUT)
    assert save_policy_file(tmp_path / "b.npz", network(), ABOUT).sha256 == first.sha256


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"none\.npz"):
        load_policy_file(tmp_path / "none.npz")


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_a_cut_file_is_called_damaged(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "p.npz"
    save_policy_file(path, network(), ABOUT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PolicyFileError, match="damaged"):
        load_policy_file(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    save_policy_file(path, network(), ABOUT)
    content = bytearray(path.read_bytes())
    content[content.index(b"w0.npy") + 200] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(PolicyFileError, match="damaged"):
        load_policy_file(path)


def test_an_array_file_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", w0=np.zeros((2, 2)))
    with pytest.raises(PolicyFileError, match="damaged"):
        load_policy_file(tmp_path / "other.npz")


def test_layers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    net = network()
    save_policy_file(tmp_path / "p.npz", Mlp((net.weights[0], net.weights[0]), net.biases), ABOUT)
    with pytest.raises(PolicyFileError, match="do not fit"):
        load_policy_file(tmp_path / "p.npz")


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    net = network()
    net.weights[0][0, 0] = np.nan
    save_policy_file(tmp_path / "p.npz", net, ABOUT)
    with pytest.raises(PolicyFileError, match="not finite"):
        load_policy_file(tmp_path / "p.npz")


def test_a_file_that_is_not_the_one_on_its_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    write_card(path, save_policy_file(path, network(0), ABOUT))
    assert load_policy_file(path).sha256 == read_card(path)["sha256"]
    save_policy_file(path, network(1), ABOUT)
    with pytest.raises(PolicyFileError, match=r"not the file that p\.json describes"):
        load_policy_file(path)


def test_a_card_is_written_for_machines_and_for_people(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    write_card(path, save_policy_file(path, network(), ABOUT), {"s": {"regret_mean": 0.0123456}})
    assert json.loads(card_path(path).read_text())["results"]["s"]["regret_mean"] == 0.0123456
    page = (tmp_path / "p.md").read_text()
    assert "| regret mean | 0.01235 |" in page
    assert "| actions | a, b |" in page


@pytest.mark.parametrize("content", ["", "[]", "{", '{"file": "p.npz"}'])
def test_a_damaged_card_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "p.npz"
    save_policy_file(path, network(), ABOUT)
    card_path(path).write_text(content)
    with pytest.raises(PolicyFileError, match="card"):
        load_policy_file(path)
