"""The options of signing and of demanding a signature, alike in every command that has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from zoo.sign import Identity, Keyless, PrivateKey, PublicKey

Function = TypeVar("Function", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)


def signing_options(function: Function) -> Function:
    """Add ``--sign``, ``--signing-key`` and ``--ambient-identity``."""
    for option in (
        click.option("--ambient-identity", is_flag=True, help="Sign with the identity this CI job has at sigstore."),
        click.option("--signing-key", type=_FILE, metavar="FILE", help="Sign with this private key (implies --sign)."),
        click.option("--sign", is_flag=True, help="Sign it, with $POCKETZOO_SIGNING_KEY or a sigstore identity."),
    ):
        function = option(function)
    return function


def trust_options(function: Function) -> Function:
    """Add ``--require-signature`` and whose: ``--public-key``, or ``--identity`` with ``--identity-provider``."""
    for option in (
        click.option("--identity-provider", metavar="URL", help="Who vouches for that identity."),
        click.option("--identity", metavar="WHO", help="The sigstore identity that must have signed."),
        click.option("--public-key", type=_FILE, metavar="FILE", help="The key that must have signed."),
        click.option("--require-signature", is_flag=True, help="Fail unless a trusted signature holds."),
    ):
        function = option(function)
    return function


def chosen_signer(sign: bool, signing_key: Path | None, ambient_identity: bool) -> PrivateKey | Keyless | None:
    """Who signs; None where nobody asked for it."""
    if not (sign or signing_key or ambient_identity):
        return None
    from zoo.sign import Keyless, signer_from

    return Keyless(ambient=True) if ambient_identity and not signing_key else signer_from(signing_key)


def chosen_trust(
    require_signature: bool, public_key: Path | None, identity: str | None, identity_provider: str | None
) -> PublicKey | Identity | None:
    """Who is trusted; None where no signature is required. Naming somebody requires it.

    Raises:
        BadInput: a signature is required and nobody is named.
    """
    if not (require_signature or public_key or identity or identity_provider):
        return None
    from zoo.sign import trust_from

    return trust_from(public_key, identity, identity_provider)
