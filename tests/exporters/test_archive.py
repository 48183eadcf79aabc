from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from exporters.archive import pack, unpack
from exporters.errors import PackageError
from exporters.package import load_package

Write = Callable[..., Path]
Trust = dict[str, Ed25519PublicKey]


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            member.size = member.size or len(content)
            tar.addfile(member, io.BytesIO(content) if content else None)
    return path


def test_a_package_survives_the_way_through_one_file(tmp_path: Path, write: Write, trust: Trust) -> None:
    package = load_package(write(tmp_path / "p"), trust=trust)
    archive = pack(package, tmp_path / "p.subsolar")
    arrived = unpack(archive, tmp_path / "there", trust=trust)
    assert arrived.sha256 == package.sha256
    assert arrived.path == tmp_path / "there"


def test_one_package_is_one_byte_sequence(tmp_path: Path, write: Write, trust: Trust) -> None:
    first = pack(load_package(write(tmp_path / "a"), trust=trust), tmp_path / "1")
    second = pack(load_package(write(tmp_path / "b"), trust=trust), tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7])
def test_a_torn_archive_leaves_nothing_behind(tmp_path: Path, write: Write, trust: Trust, keep: float) -> None:
    archive = pack(load_package(write(tmp_path / "p"), trust=trust), tmp_path / "p.subsolar")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(PackageError):
        unpack(archive, tmp_path / "there", trust=trust)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["p", "p.subsolar"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", ".hidden", "a//b", "a\\b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, trust: Trust, name: str) -> None:
    archive = tar_of(tmp_path / "a", (tarfile.TarInfo(name), b"x"))
    with pytest.raises(PackageError, match="not a plain file inside"):
        unpack(archive, tmp_path / "there", trust=trust)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, trust: Trust, kind: bytes) -> None:
    member = tarfile.TarInfo("model.onnx")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(PackageError, match="not a plain file inside"):
        unpack(tar_of(tmp_path / "a", (member, b"")), tmp_path / "there", trust=trust)


def test_a_bomb_is_refused_by_what_it_announces(tmp_path: Path, trust: Trust) -> None:
    member = tarfile.TarInfo("model.onnx")
    member.size = 10 * 2**30
    (tmp_path / "a").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(PackageError, match="larger than a package may be"):
        unpack(tmp_path / "a", tmp_path / "there", trust=trust)


def test_too_many_files_are_refused(tmp_path: Path, trust: Trust) -> None:
    members = [(tarfile.TarInfo(f"f{number}"), b"x") for number in range(65)]
    with pytest.raises(PackageError, match="larger than a package may be"):
        unpack(tar_of(tmp_path / "a", *members), tmp_path / "there", trust=trust)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path, trust: Trust) -> None:
    archive = tar_of(tmp_path / "a", (tarfile.TarInfo("model.onnx"), b"x"), (tarfile.TarInfo("model.onnx"), b"y"))
    with pytest.raises(PackageError, match="twice"):
        unpack(archive, tmp_path / "there", trust=trust)


def test_an_archive_that_is_not_there_is_one_clear_line(tmp_path: Path, trust: Trust) -> None:
    with pytest.raises(PackageError):
        unpack(tmp_path / "nothing", tmp_path / "there", trust=trust)
