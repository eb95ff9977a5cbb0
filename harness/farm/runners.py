"""Runners of a farm: published in a remote of the zoo, brought to hosts by digest, used for the jobs that name them.

A runner is published as an entry of its own (``runner.benchmark_model.armv8``), so that it is sent, received, hashed
and signed as models are. A host keeps what it brought apart from what its owner registered: a job's runner measures
that job and changes nothing of what the host measures by itself.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from harness.registry import LARGEST, Binary, Registry
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.home import home
from zoo.artifact import Artifact, FileRecord
from zoo.backends.protocol import Published
from zoo.pull import pull
from zoo.reference import Reference
from zoo.remotes import open_remote, which
from zoo.sign import Identity, Keyless, PrivateKey, PublicKey
from zoo.store import Store

NOWHERE = "none"
"""As a remote's name: runners come from nowhere."""


def reference_of(tool: str, abi: str, digest: str) -> Reference:
    """What a runner is called in a remote."""
    return Reference(f"runner.{tool}.{abi}", digest=digest)


def artifact_of(binary: Binary) -> Artifact:
    """A registered binary as an entry of a remote; the same on every machine, so that publishing twice does nothing."""
    return Artifact(
        name=reference_of(binary.name, binary.abi, binary.sha256).name,
        format="program",
        files=(FileRecord(name=binary.name, sha256=binary.sha256, size=binary.size),),
        task="measures models on devices",
        notes=(f"no model: a program for {binary.abi}, brought to hosts of a farm by its digest",),
    )


def publish(
    binary: Binary, registry: Registry, *, to: str | None = None, sign: PrivateKey | Keyless | None = None
) -> Published:
    """Publish a registered binary for the hosts of a farm.

    Args:
        binary: which.
        registry: where it is.
        to: a remote's name or URL; default: the default remote.
        sign: sign it first.

    Raises:
        BadInput: no such remote; nothing can be published there; the key cannot be used.
        WorkFailed: the remote failed, or the kept file is gone.
    """
    from zoo import push
    from zoo.signatures import signed

    config = which(to)
    with tempfile.TemporaryDirectory(prefix="pocketzoo-runner-") as folder:
        store = Store(Path(folder) / "zoo")
        entry = store.add(artifact_of(binary), {binary.name: registry.path(binary)})
        signature = signed(store, entry, sign) if sign is not None else None
        with closing(open_remote(config)) as remote:
            return push.push(store, remote, entry, tags=("latest",), signature=signature)


@dataclass(frozen=True)
class RunnerTrust:
    """Whose programs a host starts on its devices.

    Args:
        remote: they come from this remote (a name or URL of the host's own configuration); None: the default one.
        signed_by: who must have signed them; None: nobody, then they never run on the host itself.
    """

    remote: str | None = None
    signed_by: PublicKey | Identity | None = None


class Brought:
    """The runners that a host brought; threads share one.

    Args:
        trust: whose they may be.
        root: where they are kept; default ``farm/runners`` in the state folder.
    """

    def __init__(self, trust: RunnerTrust | None = None, root: Path | None = None) -> None:
        self.trust = trust or RunnerTrust()
        self._kept = Registry(root if root is not None else home() / "farm" / "runners")
        self._one = threading.Lock()

    def path(self, binary: Binary) -> Path:
        """The kept file, hashed."""
        return self._kept.path(binary)

    def bring(self, tool: str, abi: str, digest: str, *, here: bool) -> Binary:
        """A runner by its digest: as it was kept, else out of the remote.

        Args:
            tool: e.g. ``benchmark_model``.
            abi: what it is built for.
            digest: its SHA-256.
            here: whether it is to run on this machine and not on a device beside it.

        Raises:
            BadInput: nobody has it there, it is not signed as it must be, or it is another kind of file.
            WorkFailed: the remote failed.
        """
        if here and self.trust.signed_by is None:
            raise BadInput(
                "a program out of a remote runs on devices; on the host itself only where a signature is required",
                hint="harness farm worker ... --require-signature --public-key FILE",
            )
        with self._one:
            known = next((b for b in self._kept.all() if (b.name, b.abi, b.sha256) == (tool, abi, digest)), None)
            return known or self._fetch(tool, abi, digest)

    def _fetch(self, tool: str, abi: str, digest: str) -> Binary:
        from zoo.signatures import demanding

        if self.trust.remote == NOWHERE:
            raise BadInput(
                "this host takes runners from no remote", hint="harness farm worker ... --runners-from REMOTE"
            )
        trusted = self.trust.signed_by
        self._kept.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".brought-", dir=self._kept.root) as folder:
            pulled = pull(
                reference_of(tool, abi, digest),
                store=Store(Path(folder) / "zoo"),
                remotes=(which(self.trust.remote),),
                consider=_no_larger_than_a_runner,
                accept=None if trusted is None else demanding(trusted, lambda _: None),
            )
            record = pulled.entry.artifact.files[0]
            return self._kept.add(Store(Path(folder) / "zoo").file(record), abi=abi, name=tool)


class ForJob(Registry):
    """The registered binaries of a host, with those that a job names in the place of the newest.

    Args:
        binaries: ``name/abi`` -> digest, as the job names them.
        brought: what came for jobs.
        here: whether the device is this machine.
        root: see :class:`harness.registry.Registry`.
    """

    def __init__(self, binaries: Mapping[str, str], brought: Brought, *, here: bool, root: Path | None = None) -> None:
        super().__init__(root)
        self._binaries = binaries
        self._brought = brought
        self._here = here

    def newest(self, name: str, abi: str) -> Binary | None:
        """The binary that the job names for this ABI, brought where it is not registered here; else this host's own.

        Raises:
            BadInput, WorkFailed: it cannot be had; with the digest that is registered here.
        """
        own, digest = super().newest(name, abi), self._binaries.get(f"{name}/{abi}")
        if digest is None:
            return own
        registered = next((b for b in self.all() if (b.name, b.abi, b.sha256) == (name, abi, digest)), None)
        if registered is not None:
            return registered
        try:
            return self._brought.bring(name, abi, digest, here=self._here)
        except PocketzooError as error:
            has = f"sha256:{own.sha256[:12]}" if own is not None else "none"
            kind = BadInput if isinstance(error, BadInput) else WorkFailed
            raise kind(
                f"the client measures with {name} sha256:{digest[:12]} for {abi}, this host has {has}, "
                f"and it cannot be brought: {error.what}",
                where=error.where,
                detail=error.detail,
                hint=f"harness runner push {digest[:12]}, on the client; or harness runner add PATH --abi {abi}, here",
            ) from error

    def path(self, binary: Binary) -> Path:
        """See :meth:`harness.registry.Registry.path`."""
        return super().path(binary) if binary in self.all() else self._brought.path(binary)


def _no_larger_than_a_runner(artifact: Artifact) -> None:
    if artifact.format != "program" or len(artifact.files) != 1 or artifact.size_bytes > LARGEST:
        raise WorkFailed(f"{artifact.name} is no runner: {artifact.format}, {artifact.size_bytes:,} bytes")
