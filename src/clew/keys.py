"""The keys of row ids: outside git, because a plain hash of a short row can be guessed."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from clew import io
from clew.errors import SetupError

PUBLIC = b"clew: rows that are public anyway"
"""The key named `public`: ids are the same for everybody, and hide nothing."""

FIX = "Set CLEW_KEYS to a folder of yours."


def folder() -> Path:
    """Where keys lie: $CLEW_KEYS, else clew/keys in the user's configuration folder."""
    if named := os.environ.get("CLEW_KEYS"):
        return Path(named)
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    try:
        return Path(config).expanduser() / "clew" / "keys"
    except RuntimeError:  # a user that the system does not know
        raise SetupError("there is no home folder", where=config, fix=FIX) from None


def fingerprint(key: bytes) -> str:
    """16 hex digits that name a key without telling it."""
    return hashlib.blake2b(b"row-key" + key, digest_size=8).hexdigest()


def make() -> Path:
    """Write a new random 32-byte key, readable by its owner alone, and return its path."""
    key = secrets.token_bytes(32)
    path = folder() / fingerprint(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if io.is_full(error):
            raise
        what = f"the row key cannot be written ({error.strerror})"
        raise SetupError(what, where=str(path), fix=FIX) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
    return path


def load(name: str) -> bytes:
    """The key named by prepare.row_key: `public` or a fingerprint; a file that holds another key is refused."""
    if name == "public":
        return PUBLIC
    path = folder() / name
    fix = "Put the key file there (CLEW_KEYS names another folder), or make a new key with `clew rows key`."
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        raise SetupError("the row key is not on this machine", where=str(path), fix=fix) from None
    except OSError as error:
        what = f"the row key cannot be read ({error.strerror})"
        raise SetupError(what, where=str(path), fix="See that it is a file that you may read.") from None
    except ValueError:
        raise SetupError("not a row key (64 hex digits)", where=str(path), fix=fix) from None
    if fingerprint(key) != name:
        raise SetupError(f"the key's fingerprint is {fingerprint(key)}", where=str(path), fix=fix)
    return key
