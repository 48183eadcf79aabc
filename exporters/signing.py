"""Ed25519 signatures over ``SHA256SUMS`` (RFC 8032): made with one key, verified against those that are trusted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import PackageError
from .keys import key_id, list_keys, load_trust
from .strict_json import from_json, to_json

Trust = Mapping[str, Ed25519PublicKey] | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    key_id: str
    algorithm: str
    signature: str


def sign(sums: bytes, key: Ed25519PrivateKey) -> bytes:
    """The content of the file ``signature``."""
    signature = base64.b64encode(key.sign(sums)).decode()
    return to_json(_Signature(key_id=key_id(key.public_key()), algorithm="ed25519", signature=signature))


def verify(path: Path, sums: bytes, stored_bytes: bytes | None, trust: Trust, allow_unsigned: bool) -> str | None:
    """The id of the trusted key that signed ``sums``; None for what the caller allows unsigned. Else PackageError."""
    if stored_bytes is None:
        if allow_unsigned:
            return None
        raise PackageError(f"{path} is not signed. Sign it with: subsolar sign, or allow unsigned packages on purpose.")
    stored = from_json(_Signature, stored_bytes, f"{path}/signature")
    known = load_trust(trust) if isinstance(trust, Path) else trust
    public = known.get(stored.key_id)
    if public is None:
        if allow_unsigned:
            return None
        if isinstance(trust, Path):
            _refuse_expired(path, trust, stored.key_id)
        raise PackageError(
            f"{path} is signed by key {stored.key_id}; trusted are {sorted(known)}. "
            "Add its .pub.pem to the trusted keys only if you know whose it is."
        )
    if stored.algorithm != "ed25519":
        raise PackageError(f"{path} is signed with {stored.algorithm!r}, ed25519 is needed. Sign it again.")
    try:
        public.verify(base64.b64decode(stored.signature, validate=True), sums)
    except (InvalidSignature, binascii.Error) as error:
        raise PackageError(
            f"The signature of {path} does not match its SHA256SUMS (key {stored.key_id}). "
            "Take the package from its source again."
        ) from error
    return stored.key_id


def _refuse_expired(path: Path, folder: Path, wanted: str) -> None:
    for known in list_keys(folder):
        if known.key_id == wanted and known.expired:
            raise PackageError(
                f"{path} is signed by key {wanted} ({known.name}), which expired on {known.expires}. "
                "Sign the package with a key that is valid: subsolar sign."
            )
