from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from exporters.errors import KeyFileError, PackageError
from exporters.keys import key_facts, key_id, list_keys, load_private, load_public, load_trust, new_key
from exporters.package import load_package, sign_package


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


def test_a_key_verifies_until_its_last_day_and_is_named_when_it_has_expired(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    private, public = new_key(tmp_path / "keys", "short", valid_days=30)
    facts = key_facts(public)
    assert facts.expires is not None
    assert facts.validity == f"valid until {facts.expires}"
    last = date.fromisoformat(facts.expires)
    assert facts.key_id in load_trust(tmp_path / "keys", on=last)
    assert load_trust(tmp_path / "keys", on=last + timedelta(days=1)) == {}
    path = write(tmp_path / "p", key=load_private(private))
    assert load_package(path, trust=tmp_path / "keys").key_id == facts.key_id
    public.write_text(public.read_text().replace(facts.expires, "2020-02-29"))
    with pytest.raises(PackageError, match=r"\(short\), which expired on 2020-02-29"):
        load_package(path, trust=tmp_path / "keys")
    assert [key.expired for key in list_keys(tmp_path / "keys")] == [True]
    public.write_text(public.read_text().replace("2020-02-29", "soon"))
    with pytest.raises(KeyFileError, match="no date"):
        load_trust(tmp_path / "keys")


def test_signing_raises_the_version_and_never_lowers_it(tmp_path: Path, write: Callable[..., Path]) -> None:
    private, _ = new_key(tmp_path / "keys", "mine")
    key, path = load_private(private), write(tmp_path / "p", key=None)
    sign_package(path, key, trust={}, version=7)
    signed = load_package(path, trust=tmp_path / "keys")
    assert (signed.info.version, signed.key_id) == (7, key_id(key.public_key()))
    for version in (3, 7):
        with pytest.raises(PackageError, match=f"is version 7; {version} is not later"):
            sign_package(path, key, trust=tmp_path / "keys", version=version)
    sign_package(path, key, trust=tmp_path / "keys", out=tmp_path / "copy", version=8)
    assert load_package(tmp_path / "copy", trust=tmp_path / "keys").info.version == 8
    assert load_package(path, trust=tmp_path / "keys").info.version == 7


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\0b", "two words"])
def test_a_name_that_is_no_file_name_names_no_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="names no key"):
        new_key(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_a_pair_of_which_one_half_cannot_be_written_leaves_no_half(tmp_path: Path) -> None:
    (tmp_path / "ground.pub.pem").symlink_to("nowhere")  # exists() says no, making it says yes
    with pytest.raises(KeyFileError, match="Cannot write a key"):
        new_key(tmp_path, "ground")
    assert [path.name for path in tmp_path.iterdir()] == ["ground.pub.pem"]


def test_a_day_that_no_calendar_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No calendar"):
        new_key(tmp_path, "ground", valid_days=10**9)
    assert not list(tmp_path.iterdir())
