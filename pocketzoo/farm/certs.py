"""Certificates of a farm: an authority of its own, and a folder for each member that is copied to its machine.

Dask trusts whoever shows a certificate of that authority and asks for no host name, so the authority must serve this
farm and nothing else. Keys are elliptic (P-256); nothing expires unnoticed: ``harness farm certs`` says until when.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pocketzoo.errors import BadInput
from pocketzoo.farm.security import CA, CERT, KEY
from pocketzoo.files import write_atomically

if TYPE_CHECKING:
    from cryptography.x509 import KeyUsage

CA_KEY = "ca-key.pem"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Member:
    """A member's folder, made now or before, and the day (UTC) until which its certificate holds."""

    name: str
    folder: Path
    made: bool
    until: datetime


def make(folder: Path, names: tuple[str, ...], *, days: int = 825) -> list[Member]:
    """Make the authority where there is none yet, and a certificate for each name that has none.

    Args:
        folder: of the authority; it stays on one machine. ``folder/NAME`` is for the member.
        names: of hosts and people.
        days: for which new certificates hold.

    Raises:
        BadInput: a name that is none, or a folder that holds half an authority.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    for name in names:
        if not _NAME.fullmatch(name):
            raise BadInput(f"not a name for a member: {name!r}", hint="letters, digits and . _ - inside")
    if not 1 <= days <= 3650:
        raise BadInput(f"--days takes 1 to 3650, not {days}")
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)  # clocks of other hosts may be behind
    ca_file, ca_key_file = folder / CA, folder / CA_KEY
    if ca_file.exists() != ca_key_file.exists():
        raise BadInput(
            f"{folder} holds {CA if ca_file.exists() else CA_KEY} without the other half",
            hint="run it where the authority is, or choose an empty folder",
        )
    if not ca_file.exists():
        ca_key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pocketzoo farm")])
        ca = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(ca_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        _secret(ca_key_file, ca_key)
        write_atomically(ca_file, _pem(ca))
    ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
    loaded = load_pem_private_key(ca_key_file.read_bytes(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise BadInput("the authority's key is of another kind", where=str(ca_key_file))
    ca_key = loaded
    members = []
    for name in names:
        mine = folder / name
        made = not (mine / CERT).exists()
        if made:
            key = ec.generate_private_key(ec.SECP256R1())
            cert = (
                x509.CertificateBuilder()
                .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
                .issuer_name(ca.subject)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now)
                .not_valid_after(now + timedelta(days=days))
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(sign=False), critical=True)
                .add_extension(
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                    critical=False,
                )
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
                .sign(ca_key, hashes.SHA256())
            )
            mine.mkdir(parents=True, exist_ok=True, mode=0o700)
            _secret(mine / KEY, key)
            write_atomically(mine / CA, _pem(ca))
            write_atomically(mine / CERT, _pem(cert))
        until = x509.load_pem_x509_certificate((mine / CERT).read_bytes()).not_valid_after_utc
        members.append(Member(name, mine, made, until))
    return members


def _usage(*, sign: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(cert: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    data: bytes = cert.public_bytes(Encoding.PEM)  # type: ignore[attr-defined]
    return data


def _secret(path: Path, key: object) -> None:
    """Write a private key that nobody else can read at any moment."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
