"""A client's connection to a farm, and what can go wrong with it in words of ours."""

from __future__ import annotations

import contextlib
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pocketzoo.errors import BadInput, DeviceUnavailable
from pocketzoo.farm.gate import close_gate
from pocketzoo.farm.scheduler import PROTOCOL, configure, silence
from pocketzoo.farm.security import check_address, security_for

CONNECT_S = 10.0


class FarmUnavailable(DeviceUnavailable):
    """The scheduler is not there, or went away."""


class FarmRefused(BadInput):
    """The scheduler does not let us in, or is another version."""


@contextmanager
def connected(address: str, certs: str | None = None, *, wait_s: float = CONNECT_S) -> Iterator[Any]:
    """A Dask client of a farm, closed when the block ends; what it submitted to stay, stays.

    Args:
        address: of the scheduler.
        certs: see :func:`pocketzoo.farm.security.security_for`.
        wait_s: how long to try.

    Raises:
        BadInput: not an address, no certificate, or one that is not the farm's.
        FarmUnavailable: nobody answers there.
        FarmRefused: the scheduler is none of a farm, or of another version.
    """
    address = check_address(address)
    needs_dask()
    configure()
    close_gate()
    security = security_for(address, certs)
    from distributed import Client

    silence()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = Client(
                address, security=security, timeout=wait_s, set_as_default=False, direct_to_workers=False, name="farm"
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise _told(error, address) from error
    try:
        _greet(client, address)
        yield client
    finally:
        with contextlib.suppress(Exception):  # whatever Dask thinks of a connection that is gone already
            client.close(timeout=5)


def needs_dask() -> None:
    """Raise where the extra is not installed.

    Raises:
        BadInput: it is not.
    """
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise BadInput("a farm needs Dask, which is not installed", hint="pip install 'pocketzoo[farm]'")


def ask(client: Any, question: str, **arguments: Any) -> Any:
    """Ask the scheduler one of :class:`pocketzoo.farm.scheduler.Questions`.

    Raises:
        FarmUnavailable: it does not answer any more.
    """
    try:
        return client.sync(getattr(client.scheduler, question), callback_timeout=30, **arguments)
    except (OSError, AttributeError) as error:  # Dask raises AttributeError while it connects anew
        raise FarmUnavailable(f"the scheduler does not answer any more: {error}", hint="harness farm status") from error


def _greet(client: Any, address: str) -> None:
    try:
        hello = client.sync(client.scheduler.farm_hello, callback_timeout=30)
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise FarmRefused(
            "what answers is not the scheduler of a farm", where=address, hint="harness farm scheduler starts one"
        ) from error
    import distributed

    mine = {"farm": PROTOCOL, "dask": distributed.__version__}
    if hello != mine:
        said = ", ".join(
            f"{key} {hello.get(key)} there, {mine[key]} here" for key in mine if hello.get(key) != mine[key]
        )
        raise FarmRefused(
            f"the scheduler is of another version: {said}",
            where=address,
            hint="install the same version of pocketzoo[farm] on every host",
        )


def _told(error: BaseException, address: str) -> BadInput | DeviceUnavailable:
    """A failed connection: a certificate that is not the farm's, or nobody there."""
    text, seen = str(error), error
    while seen.__cause__ is not None or seen.__context__ is not None:
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
        text += f" / {seen}"
        if isinstance(seen, ssl.SSLError):
            break
    words = ("certificate", "ssl", "tlsv1", "unknown ca", "handshake")
    if address.startswith("tls://") and any(word in text.lower() for word in words):
        reason = getattr(seen, "reason", None) or text.rsplit(" / ", 1)[-1]
        return FarmRefused(
            f"the scheduler and this machine do not accept each other's certificates: {reason}",
            where=address,
            hint="use a folder that `harness farm certs` made with the authority of that farm: --certs DIR",
        )
    return FarmUnavailable(
        "no scheduler of a farm answers there", where=address, hint=f"harness farm scheduler --listen {address}"
    )
