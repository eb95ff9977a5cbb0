"""Who may talk to a farm: TLS with certificates of the farm's own authority; plain TCP on loopback alone."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pocketzoo.errors import BadInput
from pocketzoo.home import home

VARIABLE = "POCKETZOO_FARM_CERTS"
CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
PORT = 8786


def certs_folder(given: str | None) -> Path:
    """Where this machine's certificate is: as given, else $POCKETZOO_FARM_CERTS, else ``farm/certs`` in the state."""
    text = given or os.environ.get(VARIABLE)
    return Path(text).expanduser().absolute() if text else home() / "farm" / "certs"


def check_address(text: str) -> str:
    """A scheduler's address with its port.

    Raises:
        BadInput: not ``tls://host:port`` or ``tcp://127.0.0.1:port``.
    """
    hint = "write tls://host:8786; tcp://127.0.0.1:8786 is enough where nothing leaves the machine"
    try:
        parts = urlsplit(text)
        port = parts.port if parts.port is not None else PORT
    except ValueError as error:
        raise BadInput(f"not the address of a farm's scheduler: {text!r}", hint=hint) from error
    plain = not parts.path.strip("/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in ("tls", "tcp") or not parts.hostname or not plain or not 0 < port < 65536:
        raise BadInput(f"not the address of a farm's scheduler: {text!r}", hint=hint)
    if parts.scheme == "tcp" and not is_loopback(parts.hostname):
        raise BadInput(
            f"{text} is beyond this machine, and who can connect to a farm can use its devices: it wants TLS",
            hint="harness farm certs makes certificates; then tls://host:8786",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves the machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def security_for(address: str, certs: str | None) -> Any:
    """Dask's security settings for an address.

    Args:
        address: as :func:`check_address` gives it.
        certs: the folder of this machine's certificate; None: where it is looked for.

    Returns:
        A ``distributed.Security``.

    Raises:
        BadInput: a file is missing, or the key is open to others.
    """
    from distributed.security import Security

    if not address.startswith("tls://"):
        return Security(require_encryption=False)
    folder = certs_folder(certs)
    for name in (CA, CERT, KEY):
        if not (folder / name).is_file():
            raise BadInput(
                f"no certificate for the farm: {name} is missing",
                where=str(folder),
                hint=f"`harness farm certs` makes a folder for each host; copy it here, or set {VARIABLE}",
            )
    if (folder / KEY).stat().st_mode & 0o077:
        raise BadInput(
            "the key of this machine can be read by others", where=str(folder / KEY), hint=f"chmod 600 {folder / KEY}"
        )
    cert, key = str(folder / CERT), str(folder / KEY)
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder / CA),
        tls_client_cert=cert,
        tls_client_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
    )
