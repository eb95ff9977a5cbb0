"""Signatures where entries are: made for the store's entries, kept beside them, demanded of what is pulled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pocketzoo.errors import BadInput, WorkFailed
from pocketzoo.files import write_atomically
from zoo.artifact import Artifact, FileRecord, encode
from zoo.backends.protocol import LARGEST_SIGNATURE
from zoo.pull import Offer, signature_path, stored_signature
from zoo.sign import Identity, Keyless, PrivateKey, PublicKey, SignatureFacts, check_signature, sign_entry
from zoo.store import Entry, Store
from zoo.verify import Finding


def signed(store: Store, entry: Entry, signer: PrivateKey | Keyless) -> bytes:
    """The signature of an entry by this signer: the one the store has where it still holds, else a new one, stored.

    Reusing it keeps a repeated push unchanged: each signing gives other bytes.

    Raises:
        BadInput, WorkFailed: see :func:`zoo.sign.sign_entry`.
    """
    artifact = entry.artifact
    manifest, files = encode(artifact), _files(store, artifact)
    there = stored_signature(store, artifact)
    if there is not None and isinstance(signer, PrivateKey) and _holds(there, manifest, files, signer):
        return there
    bundle = sign_entry(manifest, files, signer)
    write_atomically(signature_path(store, artifact), bundle)
    return bundle


def check_entry(store: Store, entry: Entry, trust: PublicKey | Identity) -> SignatureFacts:
    """Check the signature that the store has of an entry.

    Raises:
        WorkFailed: there is none, or it does not hold.
        BadInput: see :func:`zoo.sign.check_signature`.
    """
    artifact = entry.artifact
    return check_artifact(artifact, _files(store, artifact), stored_signature(store, artifact), trust)


def check_artifact(
    artifact: Artifact, files: Mapping[FileRecord, Path], bundle: bytes | None, trust: PublicKey | Identity
) -> SignatureFacts:
    """Check that a bundle is a trusted signature of this artifact with these files.

    Raises:
        WorkFailed: there is no bundle, or it does not hold.
        BadInput: see :func:`zoo.sign.check_signature`.
    """
    if bundle is None:
        raise WorkFailed(
            f"{artifact.name} is not signed, and a signature is required",
            where=f"sha256:{artifact.digest}",
            hint="ask its publisher for zoo push --sign, or pull it without --require-signature",
        )
    return check_signature(bundle, encode(artifact), files, trust)


def signature_finding(store: Store, entry: Entry, trust: PublicKey | Identity) -> Finding:
    """The same as a finding of ``zoo verify``.

    Raises:
        BadInput: see :func:`zoo.sign.check_signature`.
    """
    name = entry.artifact.name
    try:
        return Finding(name, "signature", True, f"signed by {check_entry(store, entry, trust).signer}")
    except WorkFailed as error:
        return Finding(name, "signature", False, "; ".join((error.what, *error.detail)))


def demanding(trust: PublicKey | Identity, tell: Callable[[SignatureFacts], None]) -> Callable[[Offer], None]:
    """What a pull calls before an entry becomes visible (``accept`` of :func:`zoo.pull.pull`).

    The manifest that is checked is the one that the store will hold: canonical, whatever bytes the remote sent.
    """

    def accept(offer: Offer) -> None:
        tell(check_artifact(offer.artifact, offer.files, offer.signature, trust))

    return accept


def _files(store: Store, artifact: Artifact) -> dict[FileRecord, Path]:
    return {record: store.file(record) for record in artifact.files}


def _holds(bundle: bytes, manifest: bytes, files: Mapping[FileRecord, Path], signer: PrivateKey) -> bool:
    from cryptography.hazmat.primitives import serialization

    if len(bundle) > LARGEST_SIGNATURE:
        return False
    try:
        private = serialization.load_pem_private_key(signer.path.read_bytes(), None)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (OSError, ValueError, TypeError):
        return False  # signing tells what is wrong with the key
    with tempfile.TemporaryDirectory(prefix="pocketzoo-key-") as folder:
        path = Path(folder) / "public.pem"
        path.write_bytes(public)
        try:
            check_signature(bundle, manifest, files, PublicKey(path))
        except (WorkFailed, BadInput):
            return False
    return True
