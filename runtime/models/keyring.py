"""The public keys that packages are checked against, and how the ground exchanges them.

A rotation is one signed file: the whole new set of keys, a number that only grows, and keys that are never trusted
again. It counts if a key that is trusted *now* has signed it, so a chain of rotations can be followed and none skipped
back. The keys that the craft was launched with are the first set.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from exporters.errors import KeyFileError
from exporters.keys import key_id, load_trust

from .files import read_state, write_state

SCHEMA = 1
MAX_BYTE = 1 << 18
MAX_KEYS = 64
_PREFIX = b"subsolar key rotation\n"


class Keyring:
    """The keys in force. ``launched``: the folder that the craft was launched with."""

    def __init__(self, launched: Path, state: Path) -> None:
        self._launched = launched
        self._state = state
        table = read_state(state)
        self.number = int(table.get("number", 0))
        self._revoked = frozenset(str(name) for name in table.get("revoked", ()))
        self._rotated = {name: _public(text) for name, text in table.get("keys", {}).items()}

    def keys(self) -> dict[str, Ed25519PublicKey]:
        """Return the keys that may sign a package, by key id."""
        keys = self._rotated if self.number else load_trust(self._launched)
        return {name: key for name, key in keys.items() if name not in self._revoked}

    @property
    def revoked(self) -> frozenset[str]:
        """Ids that are never trusted again."""
        return self._revoked

    def rotate(self, file: Path, check: Callable[[Mapping[str, Ed25519PublicKey]], object] = lambda _: None) -> None:
        """Put a rotation into force; ``KeyFileError`` leaves everything as it was.

        ``check`` is given the keys that would be in force, and raises where that may not be.
        """
        table = _read(file)
        signer, number, revoked = str(table["key_id"]), table["number"], table["revoked"]
        trusted = self.keys()
        if signer not in trusted:
            raise KeyFileError(
                f"{file} is signed by {signer}; trusted are {sorted(trusted)}. Sign it with one of these."
            )
        try:
            trusted[signer].verify(base64.b64decode(table["signature"], validate=True), _signed(table))
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise KeyFileError(f"The signature of {file} does not match. Take it from its source again.") from error
        if number <= self.number:
            raise KeyFileError(f"{file} has number {number}, number {self.number} is in force. Make one that is newer.")
        keys = {name: _public(text) for name, text in table["keys"].items()}
        if any(key_id(key) != name for name, key in keys.items()):
            raise KeyFileError(f"{file} calls a key by a wrong id. Make it anew: subsolar keys rotate.")
        gone = self._revoked | set(revoked)
        if not set(keys) - gone:
            raise KeyFileError(f"{file} would leave no key that is trusted. Add one that is not revoked.")
        check({name: key for name, key in keys.items() if name not in gone})
        write_state(self._state, {"number": number, "revoked": sorted(gone), "keys": table["keys"]})
        self.number, self._revoked, self._rotated = number, frozenset(gone), keys


def make_rotation(
    number: int, keys: Iterable[Ed25519PublicKey], revoked: Iterable[str], key: Ed25519PrivateKey
) -> bytes:
    """Return the bytes of a rotation signed by ``key``: ``keys`` is the whole new set."""
    texts = {key_id(public): _pem(public) for public in keys}
    table: dict[str, Any] = {"schema": SCHEMA, "number": number, "keys": texts, "revoked": sorted(revoked)}
    table["key_id"] = key_id(key.public_key())
    table["signature"] = base64.b64encode(key.sign(_signed(table))).decode()
    return json.dumps(table, indent=1, sort_keys=True).encode()


def _signed(table: Mapping[str, Any]) -> bytes:
    """Return what is signed: everything but the signature, in one form only."""
    body = {name: value for name, value in table.items() if name != "signature"}
    return _PREFIX + json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTE + 1)
        if len(raw) > MAX_BYTE:
            raise ValueError(f"more than {MAX_BYTE} bytes")
        table: dict[str, Any] = json.loads(raw)
        good = (
            table["schema"] == SCHEMA
            and type(table["number"]) is int
            and isinstance(table["signature"], str)
            and 0 < len(table["keys"]) <= MAX_KEYS
            and all(isinstance(text, str) for text in table["keys"].values())
            and all(isinstance(name, str) for name in table["revoked"])
            and set(table) == {"schema", "number", "keys", "revoked", "key_id", "signature"}
        )
    except OSError as error:
        raise KeyFileError(f"{file} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyFileError(f"{file} is no key rotation ({error}). Make one: subsolar keys rotate.") from error
    if not good:
        raise KeyFileError(f"{file} is no key rotation of schema {SCHEMA}. Make one: subsolar keys rotate.")
    return table


def _public(text: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(text.encode())
    except ValueError as error:
        raise KeyFileError(f"a key of the rotation is no PEM: {error}. Make the rotation anew.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError("a key of the rotation is not an ed25519 key. Make the rotation anew.")
    return key


def _pem(key: Ed25519PublicKey) -> str:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(*form).decode()
