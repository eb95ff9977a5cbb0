"""Signatures by the real model-signing: what holds, and everything that must not."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import sha256_bytes
from zoo.artifact import Artifact, FileRecord, encode
from zoo.sign import (
    KEY,
    LARGEST_BUNDLE,
    TOOL,
    Identity,
    Keyless,
    PrivateKey,
    PublicKey,
    check_signature,
    sign_argv,
    sign_entry,
    signer_from,
    trust_from,
    verify_argv,
)

BESIDE = Path(sysconfig.get_path("scripts")).parent / "sign" / "bin" / "model_signing"
FOUND = os.environ.get(TOOL) or (str(BESIDE) if BESIDE.is_file() else shutil.which("model_signing"))
needs_tool = pytest.mark.skipif(
    FOUND is None, reason="model-signing is not installed; `make test` installs it into .venv/sign"
)


@pytest.fixture(autouse=True)
def _tool(monkeypatch: pytest.MonkeyPatch) -> None:
    if FOUND:
        monkeypatch.setenv(TOOL, FOUND)
    monkeypatch.delenv(KEY, raising=False)


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "mine")


def entry(
    folder: Path, name: str = "tiny-model", content: bytes = b"weights" * 99
) -> tuple[bytes, dict[FileRecord, Path]]:
    files = {}
    for ending, data in ((".tflite", content), (".txt", b"cat\ndog\n")):
        path = folder / f"{name}{ending}"
        path.write_bytes(data)
        files[FileRecord(name=path.name, sha256=sha256_bytes(data), size=len(data))] = path
    return encode(Artifact(name=name, format="tflite", files=tuple(files))), files


@needs_tool
def test_a_signature_holds_and_names_everything_that_was_signed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    manifest, files = entry(tmp_path)
    bundle = sign_entry(manifest, files, PrivateKey(keys[0]))
    facts = check_signature(bundle, manifest, files, PublicKey(keys[1]))
    assert facts.signed == {
        "manifest.json": sha256_bytes(manifest),
        **{f"files/{record.name}": record.sha256 for record in files},
    }
    assert "mine.pub" in facts.signer


@needs_tool
def test_the_bundle_is_checked_by_the_tool_itself_too(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """Somebody without this package lays manifest and files out and verifies them."""
    manifest, files = entry(tmp_path)
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes(sign_entry(manifest, files, PrivateKey(keys[0])))
    folder = tmp_path / "by-hand"
    (folder / "files").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    for record, path in files.items():
        shutil.copy(path, folder / "files" / record.name)
    argv = [str(FOUND), "verify", "key", str(folder), "--public_key", str(keys[1]), "--signature", str(bundle)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
    (folder / "extra").write_text("x")
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 1


@needs_tool
def test_what_was_changed_or_signed_by_others_does_not_hold(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    manifest, files = entry(tmp_path)
    private, public = keys
    bundle = sign_entry(manifest, files, PrivateKey(private))
    _, stranger = write_keys(tmp_path, "stranger")
    trust = PublicKey(public)

    with pytest.raises(WorkFailed, match="does not hold"):
        check_signature(bundle, manifest, files, PublicKey(stranger))
    with pytest.raises(WorkFailed, match="does not hold"):
        check_signature(bundle, manifest.replace(b'"tflite"', b'"onnx"'), files, trust)
    with pytest.raises(WorkFailed, match="does not hold"):
        check_signature(bundle, manifest, dict(list(files.items())[:1]), trust)

    other_manifest, other_files = entry(tmp_path, "other", b"other weights")
    with pytest.raises(WorkFailed, match="does not hold"):
        check_signature(bundle, other_manifest, other_files, trust)

    first = next(iter(files.values()))
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    with pytest.raises(WorkFailed, match="does not hold") as caught:
        check_signature(bundle, manifest, files, trust)
    assert "files/tiny-model.tflite" in caught.value.as_text()


@needs_tool
def test_a_statement_that_leaves_files_out_is_refused_although_its_signature_holds(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    """model-signing obeys ``ignore_paths`` of the signed statement: a file could be exchanged behind it."""
    manifest, files = entry(tmp_path)
    folder, bundle = tmp_path / "partial", tmp_path / "partial.json"
    (folder / "files").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "files" / "tiny-model.tflite").write_bytes(b"left out")
    subprocess.run(
        [str(FOUND), "sign", "key", str(folder), "--private_key", str(keys[0]), "--signature", str(bundle),
         "--ignore-paths", str(folder / "files")],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(WorkFailed):
        check_signature(bundle.read_bytes(), manifest, files, PublicKey(keys[1]))


@needs_tool
def test_a_changed_bundle_does_not_hold(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    manifest, files = entry(tmp_path)
    document = json.loads(sign_entry(manifest, files, PrivateKey(keys[0])))
    payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    payload["subject"][0]["name"] = "renamed"
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    with pytest.raises(WorkFailed, match="does not hold"):
        check_signature(json.dumps(document).encode(), manifest, files, PublicKey(keys[1]))


GARBAGE = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["dsseEnvelope", "payload", "payloadType", "signatures"]), inner)
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)


@needs_tool
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GARBAGE)
def test_any_bytes_as_a_bundle_are_refused(tmp_path: Path, bundle: bytes) -> None:
    public = tmp_path / "any.pub"
    if not public.exists():
        write_keys(tmp_path, "any")
    with pytest.raises(WorkFailed, match="no sigstore bundle"):
        check_signature(bundle, b"{}", {}, PublicKey(public))


@needs_tool
@pytest.mark.parametrize("bundle", [b" " * (LARGEST_BUNDLE + 1), b"[" * 100_000, b"\xff\xfe", b"1e999"])
def test_large_and_deep_bundles_are_refused(keys: tuple[Path, Path], bundle: bytes) -> None:
    with pytest.raises(WorkFailed, match="no sigstore bundle"):
        check_signature(bundle, b"{}", {}, PublicKey(keys[1]))


@needs_tool
def test_keys_that_cannot_be_used_are_told_apart(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    manifest, files = entry(tmp_path)
    locked, curve = tmp_path / "locked.pem", tmp_path / "ed25519.pem"
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(*pem, serialization.BestAvailableEncryption(b"secret"))
    )
    curve.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*pem, serialization.NoEncryption()))
    for path, says in ((locked, "pass phrase"), (keys[1], "no private key"), (tmp_path / "none", "no such private")):
        with pytest.raises(BadInput, match=says):
            sign_entry(manifest, files, PrivateKey(path))
    with pytest.raises(WorkFailed, match="was not signed"):
        sign_entry(manifest, files, PrivateKey(curve))
    with pytest.raises(BadInput, match="no public key"):
        check_signature(b"{}", manifest, files, PublicKey(keys[0]))


@needs_tool
def test_no_message_holds_the_key(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    manifest, files = entry(tmp_path)
    broken = tmp_path / "broken.pem"
    lines = keys[0].read_text().splitlines()
    broken.write_text("\n".join([lines[0], lines[1][:-4] + "AAAA", *lines[2:]]))
    with pytest.raises(PocketzooError) as caught:
        sign_entry(manifest, files, PrivateKey(broken))
    assert lines[1][:30] not in repr(caught.value) + caught.value.as_text()


def test_a_missing_tool_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: tuple[Path, Path]
) -> None:
    manifest, files = entry(tmp_path)
    monkeypatch.setenv(TOOL, str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="names no program"):
        sign_entry(manifest, files, PrivateKey(keys[0]))
    monkeypatch.delenv(TOOL)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(BadInput, match="not installed") as caught:
        check_signature(b"{}", manifest, files, PublicKey(keys[1]))
    assert "pip install 'pocketzoo[sign]'" in str(caught.value.hint)


@needs_tool
def test_the_tool_has_every_option_that_is_used() -> None:
    """Signing in needs the internet and is not tried here; that its options exist is."""
    commands = [
        sign_argv(str(FOUND), Path("entry"), Path("b"), PrivateKey(Path("k"))),
        sign_argv(str(FOUND), Path("entry"), Path("b"), Keyless(ambient=True)),
        verify_argv(str(FOUND), Path("entry"), Path("b"), PublicKey(Path("k"))),
        verify_argv(str(FOUND), Path("entry"), Path("b"), Identity("me@example.com", "https://example.com")),
    ]
    for argv in commands:
        said = subprocess.run([*argv[:3], "--help"], capture_output=True, text=True, check=True).stdout
        for word in argv:
            assert not word.startswith("--") or word in said


def test_a_person_who_signs_in_sees_what_the_tool_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program in the tool's place that asks and then gives up: its talk is on stderr, stdout stays for data."""
    asking = tmp_path / "asking"
    asking.write_text("#!/bin/sh\necho open this address\nexit 1\n")
    asking.chmod(0o755)
    monkeypatch.setenv(TOOL, str(asking))
    manifest, files = entry(tmp_path)
    with pytest.raises(WorkFailed, match="was not signed") as caught:
        sign_entry(manifest, files, Keyless())
    assert caught.value.detail == ("model-signing ended with exit code 1",)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "open this address\n")


def test_who_signs_and_who_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signer_from(Path("a")) == PrivateKey(Path("a"))
    assert signer_from(None, ambient=True) == Keyless(ambient=True)
    monkeypatch.setenv(KEY, "b")
    assert signer_from(None) == PrivateKey(Path("b"))
    assert signer_from(Path("a")) == PrivateKey(Path("a"))
    assert trust_from(Path("a"), None, None) == PublicKey(Path("a"))
    assert trust_from(None, "me", "https://p") == Identity("me", "https://p")
    for identity, provider in ((None, None), ("me", None), (None, "https://p")):
        with pytest.raises(BadInput, match="nobody is trusted by default"):
            trust_from(None, identity, provider)
