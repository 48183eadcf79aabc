from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from exporters.errors import KeyFileError
from exporters.keys import key_id, load_private, load_public, load_trust, new_key


def test_a_new_key_signs_what_its_public_half_verifies(tmp_path: Path) -> None:
    private_path, public_path = new_key(tmp_path, "ground")
    load_public(public_path).verify(load_private(private_path).sign(b"sums"), b"sums")
    assert private_path.stat().st_mode & 0o777 == 0o600
    assert public_path.name == "ground.pub.pem"


def test_the_key_id_is_the_start_of_the_hash_of_the_raw_key(tmp_path: Path) -> None:
    public = load_public(new_key(tmp_path, "ground")[1])
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert key_id(public) == hashlib.sha256(raw).hexdigest()[:16]
    assert set(load_trust(tmp_path)) == {key_id(public)}


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    private_path, _ = new_key(tmp_path, "ground")
    before = private_path.read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        new_key(tmp_path, "ground")
    assert private_path.read_bytes() == before


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "k").write_bytes(pem)
    with pytest.raises(KeyFileError, match="not an ed25519 key"):
        load_private(tmp_path / "k")


@pytest.mark.parametrize("read", [load_private, load_public])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, read: object) -> None:
    (tmp_path / "k").write_bytes(b"hello")
    with pytest.raises(KeyFileError, match="PEM"):
        read(tmp_path / "k")  # type: ignore[operator]
    with pytest.raises(KeyFileError, match="Cannot read"):
        read(tmp_path / "nothing")  # type: ignore[operator]


def test_a_missing_folder_of_keys_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no folder of trusted keys"):
        load_trust(tmp_path / "nothing")


def test_the_shipped_folder_holds_public_keys_alone(repo: Path) -> None:
    assert load_trust(repo / "deploy" / "keys")
    assert not any(b"PRIVATE" in path.read_bytes() for path in (repo / "deploy" / "keys").iterdir())
