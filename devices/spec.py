"""What a person writes about a device. Models only, no I/O; ``inventory`` reads the file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from pocketzoo.yamlfile import Section

Abi = Literal["armv7", "armv8", "x86_64", "x86", "riscv64", "cuda"]
Runner = Literal["python", "benchmark_model", "torch", "trtexec"]

# `lab:` in front names a virtual phone with the identity of the device behind it.
NAME = re.compile(r"(?:lab:)?[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_HOST_PORT = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(?P<port>[0-9]{1,5})")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:%-]*")
_SERIAL = re.compile(r"[A-Za-z0-9._:\[\]@+-]+")


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` as its two parts; an IPv6 host is written in brackets.

    Raises:
        ValueError: it is not of that form, or the port is not 1 to 65535.
    """
    match = _HOST_PORT.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"expected host:port such as 127.0.0.1:5037, found {address!r}")
    return match["host"].strip("[]"), int(match["port"])


def _address(value: str) -> str:
    split_address(value)
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"expected a host name, an IP address or a Host of ~/.ssh/config, found {value!r}")
    return value


def _serial(value: str) -> str:
    if not _SERIAL.fullmatch(value):
        raise ValueError(f"expected a serial as `adb devices` prints it, found {value!r}")
    return value


def _text(value: Any) -> Any:
    """YAML reads 0123456789 as a number; a serial or a fact must be quoted then."""
    if isinstance(value, (bool, int, float)):
        raise ValueError(f"expected text, found the {type(value).__name__} {value!r}; write it in quotes")
    return value


def _fact(value: Any) -> Any:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values or not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in values):
        raise ValueError(f"expected a value, /a pattern/ or a list of them, found {value!r}")
    texts = tuple(str(one) for one in values)
    for text in texts:
        if is_pattern(text):
            try:
                re.compile(text[1:-1])
            except re.error as error:
                raise ValueError(f"{text} is no regular expression: {error}") from error
    return texts


def is_pattern(text: str) -> bool:
    """Whether an expected value is a pattern: a regular expression between slashes."""
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Expected = Annotated[tuple[str, ...], BeforeValidator(_fact)]


class Cluster(Section):
    """Cores of one kind. Clusters are listed in the order of their CPU numbers, so CPU 0 is in the first."""

    name: Text
    core: Text
    cores: Annotated[int, Field(ge=1, le=1024)]
    max_mhz: Annotated[float, Field(gt=0, le=20000)]


class LocalTransport(Section):
    """The machine this runs on."""

    kind: Literal["local"]


class SshTransport(Section):
    """A host reached over ssh. What is not written comes from ~/.ssh/config, then ssh's own defaults.

    ``work_dir`` is where pushed files live there; programs must be allowed to run in it. ``python`` is the interpreter
    that the python runner uses there.
    """

    kind: Literal["ssh"]
    host: Annotated[Text, AfterValidator(_host)]
    port: Port | None = None
    user: Text | None = None
    key: Text | None = None
    known_hosts: Text | None = None
    work_dir: Text = ".cache/pocketzoo"
    python: Text = "python3"


class AdbTransport(Section):
    """A phone behind an adb server. Without a serial: the one attached phone whose ``expect`` facts hold.

    ``python`` is the interpreter that the python runner uses there.
    """

    kind: Literal["adb"]
    serial: Annotated[Text, AfterValidator(_serial)] | None = None
    server: Annotated[Text, AfterValidator(_address)] = "127.0.0.1:5037"
    work_dir: Text = "/data/local/tmp/pocketzoo"
    python: Text = "python3"


def _kind(value: Any) -> Any:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


# A discriminator of our own, because pydantic's answer to a wrong kind does not say what may be written.
TransportSpec = Annotated[
    Annotated[LocalTransport, Tag("local")] | Annotated[SshTransport, Tag("ssh")] | Annotated[AdbTransport, Tag("adb")],
    Discriminator(
        _kind,
        custom_error_type="transport_kind",
        custom_error_message="needs a kind: {kind: local}, {kind: ssh, host: ...} or {kind: adb}",
    ),
]


class DeviceEntry(Section):
    """A device as written under its name in an inventory file.

    ``soc``, ``clusters`` and ``abis`` left out are probed and not checked. ``expect`` maps a fact (a getprop key of a
    phone, or a field of :class:`devices.facts.DeviceFacts`, or ``gpu``) to the values that may be found, compared
    without regard to case; /between slashes/ is a regular expression that is searched for.
    """

    transport: TransportSpec
    runner: Runner
    model: Text | None = None
    soc: Text | None = None
    clusters: Annotated[tuple[Cluster, ...], Field(strict=False)] = ()
    abis: Annotated[tuple[Abi, ...], Field(strict=False)] = ()
    cool_below_c: Annotated[float, Field(gt=0, lt=150)] | None = None
    tags: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    expect: dict[str, Expected] = Field(default_factory=dict)


class DeviceSpec(DeviceEntry):
    """A device of the inventory: what was written, and its name."""

    name: str

    @property
    def address(self) -> str:
        """Where it is, for people: ``this machine``, ``ssh user@host:port`` or ``adb serial``."""
        way = self.transport
        if isinstance(way, SshTransport):
            user = f"{way.user}@" if way.user else ""
            port = f":{way.port}" if way.port else ""
            return f"ssh {user}{way.host}{port}"
        if isinstance(way, AdbTransport):
            server = "" if way.server == "127.0.0.1:5037" else f" at {way.server}"
            return f"adb {way.serial or 'any that fits'}{server}"
        return "this machine"

    @property
    def cores(self) -> int | None:
        """Cores over all clusters as written; None where they are probed."""
        return sum(cluster.cores for cluster in self.clusters) or None
