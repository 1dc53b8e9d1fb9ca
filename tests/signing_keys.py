"""Keys of ssh, made for a test, and signatures with them as another machine makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def new_key(path: Path, passphrase: str = "") -> Path:
    """A new private key; beside it the public one."""
    words = ["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(["ssh-keygen", *words], check=True)
    return path


def public(key: Path) -> str:
    """The public half, as a line of the signers has it."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def detached(key: Path, text: str, namespace: str = "pipeline-version") -> str:
    """The signature of ``text``."""
    words = ["-Y", "sign", "-q", "-n", namespace, "-f", str(key)]
    return subprocess.run(
        ["ssh-keygen", *words], input=text, check=True, capture_output=True, text=True
    ).stdout
