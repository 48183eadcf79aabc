from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.errors import PackageError
from exporters.package import (
    Golden,
    PackageInfo,
    Profile,
    ProfileEntry,
    check_envelope,
    load_package,
    replace_profile,
    write_package,
)

Write = Callable[..., Path]
Trust = dict[str, Ed25519PublicKey]


def folder_bytes(path: Path) -> dict[str, bytes]:
    return {entry.relative_to(path).as_posix(): entry.read_bytes() for entry in path.rglob("*") if entry.is_file()}


def test_a_package_reads_back_as_it_was_written(
    tmp_path: Path, write: Write, trust: Trust, info: PackageInfo, profile: Profile, golden: Golden
) -> None:
    package = load_package(write(tmp_path / "p"), trust=trust)
    assert package.info == info
    assert package.profile == profile
    np.testing.assert_array_equal(package.golden.tiles, golden.tiles)
    np.testing.assert_array_equal(package.golden.expected, golden.expected)
    assert package.read_onnx() == b"graph" == package.onnx_path.read_bytes()
    assert package.key_id in trust


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, write: Write) -> None:
    assert folder_bytes(write(tmp_path / "a")) == folder_bytes(write(tmp_path / "b"))


def test_trust_may_be_a_folder_of_public_keys(
    tmp_path: Path, info: PackageInfo, profile: Profile, golden: Golden
) -> None:
    from exporters.keys import load_private, new_key

    private_path, _ = new_key(tmp_path / "keys", "ground")
    write_package(tmp_path / "p", onnx=b"g", info=info, profile=profile, golden=golden, key=load_private(private_path))
    assert load_package(tmp_path / "p", trust=tmp_path / "keys").key_id is not None


@pytest.mark.parametrize(
    "name",
    ["model.onnx", "package.json", "profile.json", "golden/tiles.npy", "golden/expected.npy", "golden/golden.json"],
)
def test_a_flipped_bit_names_the_file_and_both_hashes(tmp_path: Path, write: Write, trust: Trust, name: str) -> None:
    path = write(tmp_path / "p")
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(
        PackageError, match=rf"{name} is damaged: SHA-256 expected [0-9a-f]{{64}}, found [0-9a-f]{{64}}"
    ):
        load_package(path, trust=trust)


def test_a_truncated_graph_is_refused(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p")
    (path / "model.onnx").write_bytes(b"gra")
    with pytest.raises(PackageError, match=r"model\.onnx is damaged.*3 bytes"):
        load_package(path, trust=trust)


def test_a_graph_changed_after_the_check_is_refused_when_it_is_read(tmp_path: Path, write: Write, trust: Trust) -> None:
    package = load_package(write(tmp_path / "p"), trust=trust)
    package.onnx_path.write_bytes(b"other")
    with pytest.raises(PackageError, match="damaged"):
        package.read_onnx()


def test_a_missing_file_is_named(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p")
    (path / "profile.json").unlink()
    with pytest.raises(PackageError, match=r"profile\.json is missing"):
        load_package(path, trust=trust)


def test_an_extra_file_is_named(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p")
    (path / "golden" / "more.npy").write_bytes(b"x")
    with pytest.raises(PackageError, match=r"golden/more\.npy is not listed"):
        load_package(path, trust=trust)


def test_a_symlink_inside_is_refused_even_to_the_same_bytes(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p")
    (path / "model.onnx").rename(tmp_path / "elsewhere")
    (path / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="is a link"):
        load_package(path, trust=trust)


def test_sums_that_point_outside_are_refused(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "p", key=None)
    with (path / "SHA256SUMS").open("a") as sums:
        sums.write("0" * 64 + "  ../outside\n")
    with pytest.raises(PackageError, match="line 7 is"):
        load_package(path, trust={}, allow_unsigned=True)


def test_changed_sums_break_the_signature(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p")
    sums = (path / "SHA256SUMS").read_text()
    (path / "SHA256SUMS").write_text(("1" if sums[0] != "1" else "2") + sums[1:])
    with pytest.raises(PackageError, match=r"signature of .* does not match"):
        load_package(path, trust=trust)


def test_a_strangers_key_is_refused_by_its_id(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p", key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(PackageError, match=r"is signed by key [0-9a-f]{16}; trusted are"):
        load_package(path, trust=trust)


def test_a_signature_under_a_borrowed_key_id_is_refused(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p", key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
    stored = json.loads((path / "signature").read_text())
    (path / "signature").write_text(json.dumps({**stored, "key_id": next(iter(trust))}))
    with pytest.raises(PackageError, match="does not match"):
        load_package(path, trust=trust, allow_unsigned=True)


def test_a_signature_that_is_no_base64_is_refused(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p")
    stored = json.loads((path / "signature").read_text())
    (path / "signature").write_text(json.dumps({**stored, "signature": "!"}))
    with pytest.raises(PackageError, match="does not match"):
        load_package(path, trust=trust)
    (path / "signature").write_text(json.dumps({**stored, "signature": base64.b64encode(b"x").decode()}))
    with pytest.raises(PackageError, match="does not match"):
        load_package(path, trust=trust)


def test_an_unsigned_package_needs_a_word(tmp_path: Path, write: Write, trust: Trust) -> None:
    path = write(tmp_path / "p", key=None)
    with pytest.raises(PackageError, match="is not signed"):
        load_package(path, trust=trust)
    assert load_package(path, trust=trust, allow_unsigned=True).key_id is None


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="There is no package folder"):
        load_package(tmp_path / "nothing", trust={})


def test_an_existing_package_is_not_overwritten_by_accident(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "p")
    before = folder_bytes(path)
    with pytest.raises(PackageError, match="exists already"):
        write(path, onnx=b"other")
    assert folder_bytes(path) == before
    write(path, onnx=b"other", replace=True)
    assert (path / "model.onnx").read_bytes() == b"other"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, write: Write, golden: Golden) -> None:
    with pytest.raises(PackageError, match="golden tiles are"):
        write(tmp_path / "p", golden=replace(golden, tiles=golden.tiles[:, :2]))
    assert list(tmp_path.iterdir()) == []


def test_a_profile_can_be_replaced_alone(
    tmp_path: Path, write: Write, trust: Trust, profile: Profile, signing_key: Ed25519PrivateKey
) -> None:
    path = write(tmp_path / "p")
    before = folder_bytes(path)
    faster = replace(profile, measurements=(replace(profile.measurements[0], tile_s=0.002),))
    replace_profile(load_package(path, trust=trust), faster, signing_key)
    assert load_package(path, trust=trust).profile == faster
    changed = {name for name, content in folder_bytes(path).items() if before[name] != content}
    assert changed == {"profile.json", "SHA256SUMS", "signature"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"unknown keys \['extra'\]"),
        ({"classes": "forest"}, "a list is needed"),
        ({"version": "3"}, "a int is needed"),
        ({"version": True}, "a int is needed"),
        ({"schema": 2}, "has schema 2"),
        ({"gsd_range_m": [1.0]}, "has 1 items, 2 are needed"),
        ({"classes": ["forest"]}, "golden answers are"),
        ({"params": float("nan")}, "contains NaN"),
    ],
)
def test_a_description_that_does_not_fit_names_the_key(
    tmp_path: Path, write: Write, change: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "p", key=None)
    text = json.dumps({**json.loads((path / "package.json").read_text()), **change})
    rewrite(path, "package.json", text.encode())
    with pytest.raises(PackageError, match=message):
        load_package(path, trust={}, allow_unsigned=True)


def test_a_description_that_lacks_a_key_names_it(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "p", key=None)
    table = json.loads((path / "package.json").read_text())
    del table["licence"]
    rewrite(path, "package.json", json.dumps(table).encode())
    with pytest.raises(PackageError, match=r"lacks \['licence'\]"):
        load_package(path, trust={}, allow_unsigned=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200), name=st.sampled_from(["package.json", "golden/tiles.npy", "golden/golden.json"])
)
def test_any_bytes_in_a_file_are_refused_with_a_package_error(
    tmp_path: Path, write: Write, content: bytes, name: str
) -> None:
    path = write(tmp_path / "p", key=None, replace=True)
    rewrite(path, name, content)
    with pytest.raises(PackageError):
        load_package(path, trust={}, allow_unsigned=True)


def rewrite(path: Path, name: str, content: bytes) -> None:
    """Replace one file and correct its hash, as someone without the key could."""
    import hashlib

    (path / name).write_bytes(content)
    lines = (path / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256(content).hexdigest()
    kept = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    (path / "SHA256SUMS").write_text("\n".join(kept) + "\n")


@pytest.mark.parametrize(("tile_s", "energy_j", "fits"), [(0.004, 0.24, True), (0.004, 0.95, False), (0.0, 0.1, False)])
def test_a_profile_outside_the_power_envelope_is_refused(
    profile: Profile, profile_entry: ProfileEntry, tile_s: float, energy_j: float, fits: bool
) -> None:
    entry = replace(profile_entry, tile_s=tile_s, energy_j_per_tile=energy_j)
    changed = replace(profile, measurements=(entry,))
    if fits:
        check_envelope(changed)
    else:
        with pytest.raises(PackageError, match=r"implies .* W"):
            check_envelope(changed)


def test_an_implausible_package_loads_only_with_an_explicit_override(
    tmp_path: Path, write: Write, trust: Trust, profile: Profile
) -> None:
    entry = replace(profile.measurements[0], energy_j_per_tile=0.2)
    path = write(tmp_path / "p", profile=replace(profile, measurements=(entry,)))
    with pytest.raises(PackageError, match=r"implies 200\.0 W"):
        load_package(path, trust=trust)
    assert load_package(path, trust=trust, max_power_w=None).profile.measurements == (entry,)


def test_the_profile_finds_the_nearest_batch(profile: Profile, profile_entry: ProfileEntry) -> None:
    entries = tuple(replace(profile_entry, batch=batch) for batch in (1, 8, 32))
    sweep = replace(profile, measurements=entries)
    assert [sweep.entry_for(batch=batch).batch for batch in (1, 2, 5, 16, 100)] == [1, 1, 8, 8, 32]
    with pytest.raises(PackageError, match="no measurement on 'orin'"):
        sweep.entry_for(batch=1, device="orin")


def test_golden_answers_may_move_a_little_but_not_change_class(golden: Golden) -> None:
    assert golden.mismatch(golden.expected + np.float32(1e-4)) is None
    assert "differ by" in str(golden.mismatch(golden.expected + np.float32(1e-2)))
    assert "change their class" in str(
        replace(golden, tolerance_abs=1.0).mismatch(np.ascontiguousarray(golden.expected[:, ::-1]))
    )
    assert "differ by nan" in str(golden.mismatch(golden.expected * np.float32("nan")))
    assert "shape" in str(golden.mismatch(golden.expected[:1]))
