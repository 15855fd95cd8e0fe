"""Files that are whole or as good as none, and that know whose they are: the state of work that may be killed.

``STEM.safetensors`` holds tensors, ``STEM.json`` facts about them, the identity of the work and the digest of the
former. The JSON is written last, each file under a temporary name first, so that a torn write is noticed. Nothing is
pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightscape.errors import StoreError

_FORMAT = 1


def digest_of(content: bytes) -> str:
    """Return the blake2b hash of a file's content, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write_whole(path: Path, content: bytes) -> str:
    """Write a file that appears under its name only when it is complete, and return its digest."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return digest_of(content)


def read_whole(path: Path, digest: str) -> bytes:
    """Return the content of a file.

    Raises:
        ValueError: If it does not have the recorded digest.
    """
    content = path.read_bytes()
    if digest_of(content) != digest:
        raise ValueError(f"{path.name} does not have the recorded digest")
    return content


class SealedFolder:
    """A folder of such pairs of files, all of one piece of work.

    Args:
        folder: Created if missing.
        identity: JSON values that tell this work from any other.
        holds: What the folder holds when it is not ours, for the message: ``checkpoints of another run``.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any], *, holds: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._identity = json.loads(json.dumps(identity))
        self._holds = holds

    def write(self, stem: str, tensors: bytes, facts: Mapping[str, Any]) -> None:
        """Write a pair; it counts once both files are whole."""
        digest = write_whole(self.folder / f"{stem}.safetensors", tensors)
        content = {"format": _FORMAT, "identity": self._identity, "tensors": digest, "facts": dict(facts)}
        write_whole(self.folder / f"{stem}.json", json.dumps(content).encode())

    def read(self, stem: str) -> tuple[dict[str, Any], bytes]:
        """Return the facts and the tensors of a pair.

        Raises:
            StoreError: If it belongs to other work.
            OSError: If a file is missing.
            ValueError: If a file is damaged, or of another version of this package.
        """
        content = json.loads((self.folder / f"{stem}.json").read_bytes())
        if not isinstance(content, dict) or content.get("format") != _FORMAT or "facts" not in content:
            raise ValueError("it is no file of this version")
        different = list(differences(self._identity, content["identity"]))
        if different:
            raise StoreError(
                f"{self.folder} holds {self._holds}: {'; '.join(different[:5])}. Give this one a folder of its own, or "
                "remove that one if it is no longer needed."
            )
        return content["facts"], read_whole(self.folder / f"{stem}.safetensors", content["tensors"])


def differences(mine: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return in words in which entries, at any depth, two identities differ.

    >>> differences({"seed": 1, "recipe": {"lr": 0.1}}, {"seed": 1, "recipe": {"lr": 0.2}})
    ['recipe.lr is 0.1 here and 0.2 there']
    """
    found = []
    for key in sorted(mine.keys() | other.keys()):
        left, right = mine.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            found += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key} is {left!r} here and {right!r} there")
    return found
