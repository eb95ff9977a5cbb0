"""Signatures of entries, made and checked by sigstore's model-signing in a process of its own.

What is signed is a folder ``manifest.json`` + ``files/NAME``: the entry's manifest and every file it names, each by
its SHA-256. The result is a sigstore bundle (DSSE envelope around an in-toto statement), which anybody can check with
``model_signing verify`` and without this package.

The tool is a program and no import: its dependencies and those of ``pocketzoo[compress]`` exclude each other, so it
may live in another environment (docs/decisions/0540).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import sha256_bytes
from zoo.artifact import FileRecord

LARGEST_BUNDLE = 1 << 20  # bytes; a bundle of an entry of a few files has kilobytes
LARGEST_KEY = 64 << 10
TOOL = "POCKETZOO_MODEL_SIGNING"
"""Environment variable: the ``model_signing`` program, where it is neither beside Python nor on the PATH."""
KEY = "POCKETZOO_SIGNING_KEY"
"""Environment variable: the private key's file, where ``--signing-key`` is not given."""
DEADLINE_S = 900  # hashing gigabytes from a slow disk; an interactive sign-in

_PAYLOAD = "application/vnd.in-toto+json"
_INSTALL = f"pip install 'pocketzoo[sign]', or in an environment of its own and {TOOL}=/path/to/bin/model_signing"


@dataclass(frozen=True)
class PrivateKey:
    """Sign with an elliptic-curve private key (P-256, P-384 or P-521), a PEM file without a pass phrase."""

    path: Path


@dataclass(frozen=True)
class Keyless:
    """Sign with a sigstore identity: signs in through the browser, or takes the CI job's own identity.

    Args:
        ambient: take the identity that the surrounding CI job offers; needs no person.
    """

    ambient: bool = False


@dataclass(frozen=True)
class PublicKey:
    """Trust whoever holds the private key to this public key, a PEM file."""

    path: Path


@dataclass(frozen=True)
class Identity:
    """Trust a sigstore identity, e.g. a mail address, as this provider (an https address) vouches for it."""

    identity: str
    provider: str


@dataclass(frozen=True)
class SignatureFacts:
    """A signature that holds: who signed, and the name and SHA-256 of everything that was signed."""

    signer: str
    signed: Mapping[str, str]


def sign_entry(manifest: bytes, files: Mapping[FileRecord, Path], signer: PrivateKey | Keyless) -> bytes:
    """Sign an entry.

    Args:
        manifest: the manifest's bytes, exactly as they are published.
        files: every file of the entry with its place on this machine.
        signer: the key, or the identity.

    Returns:
        The bundle, JSON.

    Raises:
        BadInput: the tool is not installed; no such key, or one it cannot use.
        WorkFailed: the tool refuses, or a file is not the one its record describes.
    """
    tool = _tool()
    if isinstance(signer, PrivateKey):
        _check_key(signer.path, private=True)
    with _folder(manifest, files) as folder:
        bundle = Path(folder) / "bundle.json"
        argv = sign_argv(tool, Path(folder) / "entry", bundle, signer)
        done = _run(argv, talks=isinstance(signer, Keyless) and not signer.ambient)
        if done.returncode or not bundle.is_file():
            raise WorkFailed("the entry was not signed", detail=_said(done), hint="model_signing sign key --help")
        data = bundle.read_bytes()
    # What leaves here names exactly what was asked for, whatever the tool hashed.
    _check_signed(_statement(data), manifest, files)
    return data


def check_signature(
    bundle: bytes, manifest: bytes, files: Mapping[FileRecord, Path], trust: PublicKey | Identity
) -> SignatureFacts:
    """Check that a bundle is a trusted signature of exactly this entry; every file is hashed again.

    Args:
        bundle: the signature, untrusted.
        manifest: the manifest's bytes.
        files: every file of the entry with its place on this machine.
        trust: who must have signed.

    Raises:
        BadInput: the tool is not installed, or the public key cannot be used.
        WorkFailed: no sound bundle; signed by somebody else; signed for another entry; a file or the manifest changed.
    """
    tool = _tool()
    if isinstance(trust, PublicKey):
        _check_key(trust.path, private=False)
    _statement(bundle)
    with _folder(manifest, files) as folder:
        path = Path(folder) / "bundle.json"
        path.write_bytes(bundle)
        done = _run(verify_argv(tool, Path(folder) / "entry", path, trust))
    if done.returncode:
        raise WorkFailed(
            "the signature does not hold: another key, or the manifest or a file is not what was signed",
            detail=_said(done),
            hint="get the entry again, and its publisher's public key from the publisher",
        )
    # The signed statement can tell the tool to leave paths out; here nothing may be left out.
    signed = _check_signed(_statement(bundle), manifest, files)
    if isinstance(trust, PublicKey):
        return SignatureFacts(f"key sha256:{sha256_bytes(trust.path.read_bytes())[:16]} ({trust.path.name})", signed)
    return SignatureFacts(f"{trust.identity} ({trust.provider})", signed)


def sign_argv(tool: str, folder: Path, bundle: Path, signer: PrivateKey | Keyless) -> list[str]:
    """The command that signs a folder. Pure."""
    argv = [tool, "sign", "key" if isinstance(signer, PrivateKey) else "sigstore", str(folder)]
    argv += ["--allow_symlinks", "--no-ignore-git-paths", "--signature", str(bundle)]
    if isinstance(signer, PrivateKey):
        return [*argv, "--private_key", str(signer.path)]
    return [*argv, *(["--use_ambient_credentials"] if signer.ambient else [])]


def verify_argv(tool: str, folder: Path, bundle: Path, trust: PublicKey | Identity) -> list[str]:
    """The command that checks a folder against a bundle. Pure."""
    argv = [tool, "verify", "key" if isinstance(trust, PublicKey) else "sigstore", str(folder)]
    argv += ["--allow_symlinks", "--no-ignore-git-paths", "--signature", str(bundle)]
    if isinstance(trust, PublicKey):
        return [*argv, "--public_key", str(trust.path)]
    return [*argv, "--identity", trust.identity, "--identity_provider", trust.provider]


def signer_from(key: Path | None, *, ambient: bool = False) -> PrivateKey | Keyless:
    """Who signs: the key that is given, else the one the environment names, else a sigstore identity."""
    chosen = key or (Path(os.environ[KEY]) if os.environ.get(KEY) else None)
    return PrivateKey(chosen) if chosen else Keyless(ambient=ambient)


def trust_from(key: Path | None, identity: str | None, provider: str | None) -> PublicKey | Identity:
    """Who is trusted, from the options of a command.

    Raises:
        BadInput: neither a public key, nor an identity with its provider.
    """
    if key is not None:
        return PublicKey(key)
    if identity and provider:
        return Identity(identity, provider)
    raise BadInput(
        "a required signature needs to know whose: nobody is trusted by default",
        hint="--public-key FILE, or --identity WHO --identity-provider URL",
    )


def _tool() -> str:
    named = os.environ.get(TOOL)
    beside = Path(sys.executable).with_name("model_signing")
    found = named or (str(beside) if beside.is_file() else shutil.which("model_signing"))
    if found and Path(found).is_file() and os.access(found, os.X_OK):
        return found
    if named:
        raise BadInput(f"{TOOL} names no program", where=named, hint=_INSTALL)
    raise BadInput("signatures need the model-signing package, which is not installed", hint=_INSTALL)


def _check_key(path: Path, *, private: bool) -> None:
    kind = "private" if private else "public"
    if not path.is_file():
        raise BadInput(f"no such {kind} key", where=str(path))
    if path.stat().st_size > LARGEST_KEY:
        raise BadInput(f"this is no {kind} key: {path.stat().st_size:,} bytes", where=str(path))
    text = path.read_bytes()
    make = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub"
    if private and b"ENCRYPTED" in text:
        raise BadInput(
            "this private key has a pass phrase, which model-signing cannot open",
            where=str(path),
            hint="openssl pkey -in KEY -out PLAIN, into a file that only you can read",
        )
    if (b"PRIVATE KEY-----" in text) != private or b"-----BEGIN " not in text:
        raise BadInput(f"this is no {kind} key in PEM form", where=str(path), hint=make)


class _folder:
    """The folder that is signed: the manifest, and a link to each file, so that nothing is copied."""

    def __init__(self, manifest: bytes, files: Mapping[FileRecord, Path]) -> None:
        self._manifest, self._files = manifest, files

    def __enter__(self) -> str:
        self._temporary = tempfile.TemporaryDirectory(prefix="pocketzoo-sign-")
        entry = Path(self._temporary.name) / "entry"
        (entry / "files").mkdir(parents=True)
        (entry / "manifest.json").write_bytes(self._manifest)
        for record, path in self._files.items():
            (entry / "files" / record.name).symlink_to(path.absolute())
        return self._temporary.name

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()


def _run(argv: list[str], *, talks: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run the tool; where it ``talks`` with the person (an address to open, a code to type) it has the terminal."""
    try:
        if talks:
            return subprocess.run(argv, stdout=2, timeout=DEADLINE_S, check=False)
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WorkFailed(f"model-signing did not end within {DEADLINE_S} s") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> tuple[str, ...]:
    lines = (done.stderr or done.stdout or b"").decode("utf-8", "replace").strip().splitlines()
    return tuple(line[:300] for line in lines[-3:]) or (f"model-signing ended with exit code {done.returncode}",)


def _statement(bundle: bytes) -> dict[str, object]:
    """The in-toto statement inside a bundle, not yet trusted."""
    try:
        if len(bundle) > LARGEST_BUNDLE:
            raise ValueError(f"{len(bundle):,} bytes; at most {LARGEST_BUNDLE:,} are read")
        envelope = json.loads(bundle)["dsseEnvelope"]
        if envelope["payloadType"] != _PAYLOAD or len(envelope["signatures"]) != 1:
            raise ValueError("not one signature of an in-toto statement")
        statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
        if not isinstance(statement, dict):
            raise ValueError("no statement")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise WorkFailed(
            "the signature is no sigstore bundle", detail=(f"{type(error).__name__}: {error}"[:200],)
        ) from error
    return statement


def _check_signed(
    statement: Mapping[str, object], manifest: bytes, files: Mapping[FileRecord, Path]
) -> Mapping[str, str]:
    wanted = {"manifest.json": sha256_bytes(manifest), **{f"files/{r.name}": r.sha256 for r in files}}
    try:
        resources = statement["predicate"]["resources"]  # type: ignore[index]
        signed = {str(r["name"]): str(r["digest"]) for r in resources if r["algorithm"] == "sha256"}
        whole = len(signed) == len(resources)
    except (LookupError, TypeError) as error:
        raise WorkFailed("the signature is of something that is no entry") from error
    if signed != wanted or not whole:
        raise WorkFailed(
            "the signature is of another entry",
            detail=tuple(
                f"{name}: signed {str(signed.get(name, 'nothing'))[:12]}, here {wanted.get(name, 'nothing')[:12]}"
                for name in sorted(set(signed) | set(wanted))[:20]
                if signed.get(name) != wanted.get(name)
            ),
        )
    return signed
