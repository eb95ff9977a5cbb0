"""Recording the host key of a device that is reached over ssh, after a person has seen it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from devices.errors import HostKeyRejected
from devices.spec import DeviceSpec, SshTransport
from pocketzoo.errors import BadInput

if TYPE_CHECKING:
    import paramiko

    from devices.transports.ssh_login import Address


class Offer(NamedTuple):
    """The key a host shows now. ``known`` where it is recorded already; ``file`` is where it is or would be."""

    host: str
    fingerprint: str
    known: bool
    file: Path
    address: Address
    key: paramiko.PKey


def offered(spec: DeviceSpec) -> Offer:
    """Ask a device for its host key.

    Raises:
        BadInput: the device is not reached over ssh.
        DeviceMissing, DeviceOffline: it does not answer.
        HostKeyRejected: another key is recorded. It is never replaced here: a person removes it first.
    """
    if not isinstance(spec.transport, SshTransport):
        raise BadInput(f"{spec.name} is not reached over ssh, so it has no host key", where=spec.address)
    from devices.transports.ssh_login import Address, fingerprint, host_key

    address = Address(spec.transport)
    key = host_key(address)
    known = address.recorded().lookup(address.name)
    recorded = known.get(key.get_name()) if known is not None else None
    if recorded is not None and recorded != key:
        raise HostKeyRejected(
            f"{address.name} shows {fingerprint(key)}, but {fingerprint(recorded)} is recorded for it",
            device=spec.name,
            hint="find out why; where it was installed anew: "
            f"ssh-keygen -R '{address.name}' -f {address.known_hosts[0]}",
        )
    return Offer(address.name, fingerprint(key), recorded is not None, address.known_hosts[0], address, key)


def accept(offer: Offer) -> None:
    """Record the key of an offer."""
    from devices.transports.ssh_login import record

    record(offer.address, offer.key)
