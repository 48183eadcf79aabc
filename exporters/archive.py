"""A package as one file for uplink: an uncompressed tar, the same bytes for the same package."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .errors import PackageError
from .folders import folder_in_one_step
from .package import MAX_FILE_BYTE, MAX_FILES, ModelPackage, Trust, is_safe_name, load_package

SUFFIX = ".subsolar"
MAX_TOTAL_BYTE = 1024 * 2**20


def pack(package: ModelPackage, out: Path) -> Path:
    """Write a verified package as one file; names sorted, times and owners zero."""
    names = sorted(entry.relative_to(package.path).as_posix() for entry in package.path.rglob("*") if entry.is_file())
    partial = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_tar(package, names, partial)
            partial.replace(out)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise PackageError(f"Cannot write {out}: {error.strerror}. Choose a folder you own.") from error
    return out


def _write_tar(package: ModelPackage, names: Sequence[str], path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            content = (package.path / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


def unpack(
    archive: Path,
    path: Path,
    *,
    trust: Trust,
    allow_unsigned: bool = False,
    max_power_w: float | None = 60.0,
    replace: bool = False,
) -> ModelPackage:
    """Unpack and verify; the folder ``path`` appears only when everything held.

    Refused: names that leave the folder, links, devices, more files or bytes than a package may have, a torn end.
    """
    with folder_in_one_step(path, replace=replace) as partial:
        try:
            with tarfile.open(archive, "r:") as tar:
                _extract(archive, tar, partial)
            if archive.stat().st_size % tarfile.RECORDSIZE:
                raise PackageError(f"{archive} is torn: its size is no whole number of records. Send it again.")
        except (tarfile.TarError, EOFError) as error:
            raise PackageError(f"{archive} is not a whole package archive: {error}. Send it again.") from error
        load_package(partial, trust=trust, allow_unsigned=allow_unsigned, max_power_w=max_power_w)
    return load_package(path, trust=trust, allow_unsigned=allow_unsigned, max_power_w=max_power_w)


def _extract(archive: Path, tar: tarfile.TarFile, folder: Path) -> None:
    total_byte = 0
    for count, member in enumerate(tar, start=1):
        total_byte += member.size
        if not member.isreg() or not is_safe_name(member.name):
            raise PackageError(
                f"{archive} contains {member.name!r:.80}, which is not a plain file inside. Do not use it."
            )
        if count > MAX_FILES or member.size > MAX_FILE_BYTE or total_byte > MAX_TOTAL_BYTE:
            raise PackageError(f"{archive} is larger than a package may be (at {member.name!r:.80}). Do not use it.")
        source = tar.extractfile(member)
        assert source is not None  # isreg() holds
        content = source.read(member.size + 1)
        if len(content) != member.size:
            raise PackageError(f"{archive} ends inside {member.name}. Send it again.")
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise PackageError(f"{archive} contains {member.name} twice. Do not use it.")
        target.write_bytes(content)
