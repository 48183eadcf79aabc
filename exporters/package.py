"""The model package: a folder written by ``exporters`` and read by ``runtime``.

``SHA256SUMS`` lists every file, ``signature`` signs the bytes of that list with ed25519. A reader checks, in this
order: nothing but plain files inside, the signature, the set of files, each hash, then what the files say.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from .errors import PackageError
from .folders import folder_in_one_step
from .records import (
    KINDS,
    SCHEMA,
    Accuracy,
    Companion,
    InputSpec,
    OutputSpec,
    PackageInfo,
    Profile,
    ProfileEntry,
    Proof,
    Thresholds,
    check_envelope,
)
from .signing import Trust, sign, verify
from .strict_json import from_json, to_json

__all__ = [
    "Accuracy",
    "Companion",
    "Golden",
    "InputSpec",
    "ModelPackage",
    "OutputSpec",
    "PackageInfo",
    "Profile",
    "ProfileEntry",
    "Proof",
    "Thresholds",
    "Trust",
    "check_envelope",
    "folder_in_one_step",
    "load_package",
    "read_files",
    "replace_profile",
    "sign_package",
    "write_package",
]

MODEL, INFO, PROFILE, SUMS, SIGNATURE = "model.onnx", "package.json", "profile.json", "SHA256SUMS", "signature"
GOLDEN_TILES, GOLDEN_EXPECTED, GOLDEN_INFO = "golden/tiles.npy", "golden/expected.npy", "golden/golden.json"
_REQUIRED = (MODEL, INFO, PROFILE, GOLDEN_TILES, GOLDEN_EXPECTED, GOLDEN_INFO)
DTYPES = ("uint8", "float32")
MAX_FILES, MAX_FILE_BYTE, MAX_SMALL_BYTE = 64, 512 * 2**20, 16 * 2**20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """The self-test after each load. ``tiles``: (n, bands, edge, edge), uint8 or float32; ``expected``: float32."""

    tiles: NDArray[Any]
    expected: NDArray[np.float32]
    tolerance_abs: float
    values_alone: bool = False
    """Whether the answers have no class that could change: embeddings."""
    tolerance_cpu_abs: float | None = None
    """The closer one for the same arithmetic, float32 on a CPU; None where it is the same."""

    def mismatch(self, answers: NDArray[np.float32]) -> str | None:
        """Why ``answers`` are not the expected ones, or None when they are: every value close, every top-1 equal."""
        if answers.shape != self.expected.shape:
            return f"answers have shape {answers.shape}, expected {self.expected.shape}"
        worst = float(np.max(np.abs(answers - self.expected)))
        if not worst <= self.tolerance_abs:
            return f"answers differ by {worst:.3g}, allowed {self.tolerance_abs:g}"
        if answers.ndim != 2 or self.values_alone:
            return None
        changed = int(np.sum(answers.argmax(1) != self.expected.argmax(1)))
        return f"{changed} of {len(answers)} golden tiles change their class" if changed else None


@dataclass(frozen=True, slots=True, eq=False)
class ModelPackage:
    """A package whose files were all verified. ``sha256`` is the hash of its ``SHA256SUMS``."""

    path: Path
    info: PackageInfo
    profile: Profile
    golden: Golden
    sha256: str
    key_id: str | None
    """The trusted key that signed it; None for an unsigned package that the caller allowed."""
    sums: Mapping[str, str]

    @property
    def onnx_path(self) -> Path:
        """The graph on disk. ``read_onnx`` is the way that cannot be changed after the check."""
        return self.path / MODEL

    def read_onnx(self, engine: str = "cpu") -> bytes:
        """The graph for ``engine``, verified against its hash as it is read: its variant, else ``model.onnx``."""
        return self.read(self._file_for(engine))

    def golden_for(self, engine: str) -> Golden:
        """The golden tiles with what the graph for ``engine`` answers to them."""
        variant = self.info.variant_for(engine)
        if variant is None:
            closer = self.golden.tolerance_cpu_abs if engine == "cpu" else None
            return self.golden if closer is None else dataclasses.replace(self.golden, tolerance_abs=closer)
        expected = _array(self.path, variant.expected_file, {variant.expected_file: self.read(variant.expected_file)})
        return Golden(self.golden.tiles, expected, variant.tolerance_abs, self.golden.values_alone)

    def read(self, name: str) -> bytes:
        """A file of the package, verified against its hash as it is read."""
        if name not in self.sums:
            raise PackageError(f"{self.path} has no {name}. It was exported without; export it again.")
        return _read_verified(self.path, name, self.sums[name])

    def _file_for(self, engine: str) -> str:
        variant = self.info.variant_for(engine)
        return MODEL if variant is None else variant.file


def load_package(
    path: Path, *, trust: Trust, allow_unsigned: bool = False, max_power_w: float | None = 60.0
) -> ModelPackage:
    """Verify and read the package folder ``path``.

    ``trust`` holds public keys by key id, or is a folder of ``*.pub.pem``. ``max_power_w`` None is the explicit
    override of the power envelope. Raises PackageError naming the file, what was expected and what was found.
    """
    names = _plain_files(path)
    sums_bytes = _read_small(path, SUMS)
    signature = _read_small(path, SIGNATURE) if SIGNATURE in names else None
    signer = verify(path, sums_bytes, signature, trust, allow_unsigned)
    sums = _parse_sums(path, sums_bytes)
    _check_names(path, names, sums)
    content = {name: _read_verified(path, name, digest) for name, digest in sums.items()}
    info = from_json(PackageInfo, content[INFO], f"{path / INFO}")
    profile = from_json(Profile, content[PROFILE], f"{path / PROFILE}")
    golden = _read_golden(path, content, values_alone=info.output.kind == "embedding")
    _check_contents(path, info, profile, golden)
    _check_variants(path, info, set(sums))
    if max_power_w is not None:
        check_envelope(profile, max_power_w)
    return ModelPackage(path, info, profile, golden, hashlib.sha256(sums_bytes).hexdigest(), signer, sums)


def write_package(
    path: Path,
    *,
    onnx: bytes,
    info: PackageInfo,
    profile: Profile,
    golden: Golden,
    key: Ed25519PrivateKey | None,
    replace: bool = False,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write a package folder whole or not at all; same input, same bytes. ``key`` None leaves it unsigned.

    ``more``: further files by name, such as those that ``info.variants`` and ``info.companions`` name.
    """
    _check_contents(path, info, profile, golden)
    _check_variants(path, info, set(more or {}))
    files = {
        **(more or {}),
        MODEL: onnx,
        INFO: to_json(info),
        PROFILE: to_json(profile),
        GOLDEN_TILES: npy(golden.tiles),
        GOLDEN_EXPECTED: npy(golden.expected),
        GOLDEN_INFO: to_json(
            _GoldenInfo(tolerance_abs=golden.tolerance_abs, tolerance_cpu_abs=golden.tolerance_cpu_abs)
        ),
    }
    write_files(path, files, key, replace=replace)


def further_files(files: Mapping[str | Companion, bytes]) -> dict[Companion, bytes]:
    """Files with what the package says about each; a bare name is known by its stem. PackageError for a bad name."""
    found = {
        Companion(name=Path(key).stem, file=key, purpose="") if isinstance(key, str) else key: content
        for key, content in files.items()
    }
    for companion in found:
        if not is_safe_name(companion.file) or companion.file in (*_REQUIRED, SUMS, SIGNATURE):
            raise PackageError(f"A package cannot hold a companion called {companion.file!r}. Choose a plain new name.")
    return found


def replace_profile(package: ModelPackage, profile: Profile, key: Ed25519PrivateKey | None) -> None:
    """Write the package anew with another profile; the rest keeps its bytes."""
    write_files(package.path, {**read_files(package), PROFILE: to_json(profile)}, key, replace=True)


def read_files(package: ModelPackage) -> dict[str, bytes]:
    """All files of a package but its sums and signature, verified as they are read."""
    return {name: _read_verified(package.path, name, digest) for name, digest in package.sums.items()}


def sign_package(
    path: Path, key: Ed25519PrivateKey, *, trust: Trust, out: Path | None = None, version: int | None = None
) -> None:
    """Sign a package, unsigned or signed by whom ``trust`` knows; with ``version``, as that later version.

    The folder changes at once or not at all; ``out`` leaves the old one where it is. PackageError for a version that
    is not later: a craft refuses to go back.
    """
    package = load_package(path, trust=trust, allow_unsigned=True)
    files = read_files(package)
    if version is not None:
        if version <= package.info.version:
            raise PackageError(f"{path} is version {package.info.version}; {version} is not later. Give a higher one.")
        stac = {**package.info.stac, "id": f"{package.info.id}-{version}"}
        files[INFO] = to_json(dataclasses.replace(package.info, version=version, stac=stac))
    write_files(out or path, files, key, replace=out is None)


def write_files(path: Path, files: Mapping[str, bytes], key: Ed25519PrivateKey | None, *, replace: bool) -> None:
    """Write ``files``, their sums and the signature into a new folder that appears as ``path`` at once."""
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    sealed = {**files, SUMS: sums, **({} if key is None else {SIGNATURE: sign(sums, key)})}
    with folder_in_one_step(path, replace=replace) as partial:
        for name, content in sealed.items():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


@dataclass(frozen=True, slots=True, kw_only=True)
class _GoldenInfo:
    tolerance_abs: float
    tolerance_cpu_abs: float | None = None


def _plain_files(path: Path) -> set[str]:
    """Names of all files inside; symlinks, devices and too many files are refused before anything is opened."""
    if path.is_symlink() or not path.is_dir():
        raise PackageError(f"There is no package folder at {path}. Give the folder that holds {INFO}.")
    names: set[str] = set()
    for folder, subfolders, files in os.walk(path):
        for name in subfolders + files:
            entry = Path(folder, name)
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                raise PackageError(
                    f"{entry} is a link or a special file; a package holds plain files alone. Remove it."
                )
        names.update(Path(folder, name).relative_to(path).as_posix() for name in files)
        if len(names) > MAX_FILES:
            raise PackageError(f"{path} holds more than {MAX_FILES} files. This is not a package; check the path.")
    return names


def _parse_sums(path: Path, content: bytes) -> dict[str, str]:
    sums: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        match = _SUM_LINE.fullmatch(line)
        if match is None or not is_safe_name(match[2]) or match[2] in sums:
            raise PackageError(f"{path / SUMS} line {number} is {line!r:.80}, not 'HASH  NAME'. Take the package anew.")
        sums[match[2]] = match[1]
    return sums


def is_safe_name(name: str) -> bool:
    """A relative path of plain words: no parent folder, no absolute path, no hidden file."""
    return _NAME.fullmatch(name) is not None and len(name) < 200


def _check_names(path: Path, names: set[str], sums: Mapping[str, str]) -> None:
    present = names - {SUMS, SIGNATURE}
    for missing in sorted((set(sums) | set(_REQUIRED)) - present):
        raise PackageError(f"{path / missing} is missing. Take the package from its source again.")
    for extra in sorted(present - set(sums)):
        raise PackageError(
            f"{path / extra} is not listed in {SUMS}. Remove it, or take the package from its source again."
        )


def _read_small(path: Path, name: str) -> bytes:
    try:
        with (path / name).open("rb") as file:
            content = file.read(MAX_SMALL_BYTE + 1)
    except OSError as error:
        raise PackageError(f"{path / name} cannot be read: {error.strerror}. Take the package anew.") from error
    if len(content) > MAX_SMALL_BYTE:
        raise PackageError(
            f"{path / name} has more than {MAX_SMALL_BYTE} bytes. This is not a package; check the path."
        )
    return content


def _read_verified(path: Path, name: str, expected: str) -> bytes:
    try:
        with (path / name).open("rb") as file:
            content = file.read(MAX_FILE_BYTE + 1)
    except OSError as error:
        raise PackageError(f"{path / name} cannot be read: {error.strerror}. Take the package anew.") from error
    if len(content) > MAX_FILE_BYTE:
        raise PackageError(f"{path / name} has more than {MAX_FILE_BYTE} bytes. A package file must be smaller.")
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise PackageError(
            f"{path / name} is damaged: SHA-256 expected {expected}, found {found} ({len(content)} bytes). "
            "Take the package from its source again."
        )
    return content


def _read_golden(path: Path, content: Mapping[str, bytes], *, values_alone: bool) -> Golden:
    tiles, expected = _array(path, GOLDEN_TILES, content), _array(path, GOLDEN_EXPECTED, content)
    info = from_json(_GoldenInfo, content[GOLDEN_INFO], f"{path / GOLDEN_INFO}")
    return Golden(tiles, expected, info.tolerance_abs, values_alone, info.tolerance_cpu_abs)


def _array(path: Path, name: str, content: Mapping[str, bytes]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(content[name]), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise PackageError(
            f"{path / name} is not an array: {error}. Take the package from its source again."
        ) from error
    return array


def npy(array: NDArray[Any]) -> bytes:
    """An array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _check_contents(path: Path, info: PackageInfo, profile: Profile, golden: Golden) -> None:
    for what, schema in ((INFO, info.schema), (PROFILE, profile.schema)):
        if schema != SCHEMA:
            raise PackageError(f"{path / what} has schema {schema}, this program reads {SCHEMA}. Update the program.")
    edge, dtype = info.input.tile_edge_px, info.input.dtype
    if dtype not in DTYPES or info.output.kind not in KINDS:
        raise PackageError(
            f"{path / INFO} takes {dtype} and answers {info.output.kind!r}; this program knows {', '.join(DTYPES)} and "
            f"{', '.join(KINDS)}. Update the program."
        )
    shape = (len(golden.tiles), len(info.bands), edge, edge)
    if golden.tiles.dtype != dtype or golden.tiles.shape != shape or len(golden.tiles) == 0:
        raise PackageError(
            f"{path}: golden tiles are {golden.tiles.dtype} {golden.tiles.shape}, expected {dtype} {shape}."
        )
    wanted = (len(golden.tiles), *info.answer_shape)
    found = golden.expected.shape
    fits = len(found) == len(wanted) and all(want in (0, have) for want, have in zip(wanted, found, strict=True))
    if golden.expected.dtype != np.float32 or not fits:
        raise PackageError(
            f"{path}: golden answers are {golden.expected.dtype} {golden.expected.shape}, expected float32 {wanted} "
            "(0: any)."
        )
    if set(profile.accuracy.recall_by_class) != set(info.classes):
        raise PackageError(f"{path}: the profile knows other classes than {INFO}. Profile the package again.")


def _check_variants(path: Path, info: PackageInfo, present: set[str]) -> None:
    named = [name for variant in info.variants for name in (variant.file, variant.expected_file)]
    named += [companion.file for companion in info.companions]
    if missing := sorted(name for name in named if name not in present or not is_safe_name(name)):
        raise PackageError(f"{path}: {INFO} names {missing}, which {SUMS} does not list. Take the package anew.")
