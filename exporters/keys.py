"""Ed25519 keys that sign packages (RFC 8032). Public keys are plain PEM files named ``NAME.pub.pem``."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import KeyFileError

PUBLIC_SUFFIX = ".pub.pem"
_EXPIRES = "Expires:"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def key_id(public: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def new_key(folder: Path, name: str, *, valid_days: int | None = None) -> tuple[Path, Path]:
    """Make a key pair: (private file, readable by the owner alone; public file). Overwrites nothing.

    With ``valid_days`` the public file says until when it verifies; the line is text before the PEM block. Raises
    ``KeyFileError``; no half of a pair is left then.
    """
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} names no key. Use letters, digits, dots, dashes and underscores: ground-1.")
    private_path, public_path = folder / f"{name}.key.pem", folder / f"{name}{PUBLIC_SUFFIX}"
    for path in (private_path, public_path):
        if path.exists():
            raise KeyFileError(f"{path} exists already. Choose another name; a key is never overwritten.")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(folder, {private_path: (private, 0o600), public_path: (_expiry_line(valid_days) + public, 0o644)})
    return private_path, public_path


def _write_new(folder: Path, files: Mapping[Path, tuple[bytes, int]]) -> None:
    """Write files that are not there yet, each with its mode, or none of them."""
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, (content, mode) in files.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            made.append(path)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise KeyFileError(f"Cannot write a key to {folder}: {error.strerror}. Choose a folder you own.") from error


def _expiry_line(valid_days: int | None) -> bytes:
    if valid_days is None:
        return b""
    try:
        return f"{_EXPIRES} {today() + timedelta(days=valid_days)}\n".encode()
    except OverflowError as error:
        raise KeyFileError(f"No calendar holds a day {valid_days} days ahead. Give fewer, or none for ever.") from error


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key in PEM."""
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no private key in PEM: {error}. Make one: subsolar keys new.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}, not an ed25519 key. Make one: subsolar keys new.")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Read a public key in PEM."""
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no public key in PEM: {error}. Copy the .pub.pem file again.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path} holds a {type(key).__name__}, not an ed25519 key. Copy the right .pub.pem file.")
    return key


def load_trust(folder: Path, *, on: date | None = None) -> dict[str, Ed25519PublicKey]:
    """The public keys in a folder that have not expired ``on`` that day (None: today, UTC), by key id."""
    if not folder.is_dir():
        raise KeyFileError(f"There is no folder of trusted keys at {folder}. Put the .pub.pem files there.")
    found = [(path, load_public(path)) for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))]
    return {key_id(key): key for path, key in found if not _facts(path, key, on).expired}


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A public key as a person sees it; ``expires`` is an ISO date, or None for never."""

    key_id: str
    name: str
    expires: str | None
    expired: bool

    @property
    def validity(self) -> str:
        """How long it verifies."""
        if self.expires is None:
            return "does not expire"
        return f"expired on {self.expires}" if self.expired else f"valid until {self.expires}"


def key_facts(path: Path, *, on: date | None = None) -> KeyFacts:
    """What a public key file says."""
    return _facts(path, load_public(path), on)


def list_keys(folder: Path, *, on: date | None = None) -> list[KeyFacts]:
    """All public keys in a folder, expired ones too."""
    return [key_facts(path, on=on) for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))]


def today() -> date:
    """The day in UTC."""
    return datetime.now(timezone.utc).date()


def _facts(path: Path, key: Ed25519PublicKey, on: date | None) -> KeyFacts:
    line = next(
        (text for text in _read(path).decode("utf-8", "replace").splitlines() if text.startswith(_EXPIRES)), None
    )
    name = path.name.removesuffix(PUBLIC_SUFFIX)
    if line is None:
        return KeyFacts(key_id(key), name, None, False)
    try:
        until = date.fromisoformat(line.removeprefix(_EXPIRES).strip())
    except ValueError as error:
        raise KeyFileError(f"{path} says {line!r}, which is no date. Copy the .pub.pem file again.") from error
    return KeyFacts(key_id(key), name, until.isoformat(), (on or today()) > until)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"Cannot read the key {path}: {error.strerror}. Check the path.") from error
