"""Starting one process of the lab: boards, phones and the adb server. Nothing of it outlives the process it starts."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from devices.lab.counter import PLACE
from devices.lab.identity import Identity
from devices.lab.phone_control import PROFILE, command
from devices.lab.phone_profile import Profile
from devices.lab.state import MARK, Process, process, this_lab
from pocketzoo.errors import WorkFailed
from pocketzoo.files import write_atomically

# Ports that adb servers take for emulators' and attach by themselves.
_EMULATORS = range(5554, 5586)
_started: list[subprocess.Popen[bytes]] = []  # ours to wait for while we live; afterwards the system's

# Run as root in a mount, PID and host-name namespace of its own; all that it mounts ends with it. $1 root file system,
# $2 where to mount it, $3 port, $4 QEMU's CPU model, $5 folder with cpuinfo and sys, $6 folder with the keys, $7 name,
# $8 folder of the instruction counter or nothing, $9 where it is mounted.
# The root is read-only, so that all boards can share it; what a program may write to is in memory.
_BOARD = """
set -e
mount --make-rprivate /
echo "$7" >/proc/sys/kernel/hostname
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
cd "$2"
mount -t proc proc proc
mount --bind "$5/cpuinfo" proc/cpuinfo
mount --bind "$5/sys" sys
mount -o remount,bind,ro sys
mount -t tmpfs -o mode=1777,size=2g tmpfs tmp
mount -t tmpfs -o mode=755,size=64m tmpfs run
mount -t tmpfs -o mode=700,size=4g tmpfs root
mount -t tmpfs -o mode=1777,size=4g tmpfs data/local/tmp
mount -t tmpfs -o mode=755,size=1m tmpfs dev
mkdir dev/pts dev/shm run/sshd run/lock
for d in null zero full random urandom tty; do : >"dev/$d"; mount --bind "/dev/$d" "dev/$d"; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777,size=1g tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%%:*}" "dev/${n#*:}"; done
if [ -n "$8" ]; then
  mkdir -p ".$9"
  mount --bind "$8" ".$9"
  mount -o remount,bind,ro ".$9"
fi
cp "$6/host" run/sshd/host
cp "$6/client.pub" run/sshd/authorized_keys
chmod 600 run/sshd/host
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "QEMU_CPU=$4" chroot . /usr/sbin/sshd -D -e -f /dev/null \
  -p "$3" -o ListenAddress=127.0.0.1 -o HostKey=/run/sshd/host -o PidFile=none -o StrictModes=no -o UsePAM=no \
  -o AuthorizedKeysFile=/run/sshd/authorized_keys -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no \
  -o KbdInteractiveAuthentication=no -o MaxStartups=100 -o MaxSessions=100 -o "Subsystem=sftp internal-sftp" \
  -o "SetEnv=QEMU_CPU=$4"
"""


def board(
    *, name: str, root: Path, port: int, shown: Identity, folder: Path, keys: Path, counter: Path | None = None
) -> Process:
    """Start a board: sshd inside a root file system, with the identity of a processor."""
    _write(shown, folder)
    (folder / "root").mkdir(exist_ok=True)
    argv = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child=KILL", "sh", "-c", _BOARD, "sh"]
    argv += [str(root), str(folder / "root"), str(port), shown.qemu_cpu, str(folder), str(keys), name]
    argv += [str(counter or ""), PLACE]
    return _launch(argv, log=folder / "log")


def phone(
    *, root: Path, port: int, shown: Identity, folder: Path, profile: Profile, counter: Path | None = None
) -> Process:
    """Start a virtual phone: a daemon that speaks the adb transport protocol. Its control socket is in ``folder``."""
    _write(shown, folder)
    mounts = [*shown.mounts(folder), *([(str(counter), PLACE)] if counter else [])]
    whole = msgspec.structs.replace(profile, mounts=tuple(mounts))
    write_atomically(folder / PROFILE, msgspec.json.format(msgspec.json.encode(whole), indent=2))
    return _launch(command(root=root, port=port, folder=folder, qemu_cpu=shown.qemu_cpu), log=folder / "log")


def adb_server(port: int, folder: Path) -> Process:
    """Start an adb server with a home of its own, which touches no phone that is plugged in here."""
    import adbutils

    program = Path(adbutils.__file__).parent / "binaries" / "adb"
    if not program.exists():
        program = Path(adbutils.adb_path())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "ANDROID_ADB_SERVER_PORT": str(port),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": str(_EMULATORS.start - 1),  # attach no emulators
        "ADB_MDNS": "0",  # listen to no announcements in the network
    }
    # One USB device may be given, so that this server leaves all others to the user's own: none is called that.
    argv = [str(program), "-P", str(port), "server", "nodaemon", "--one-device", "none"]
    return _launch(argv, log=folder / "log", settings=settings)


def free_port(wanted: int | None = None) -> int:
    """A port that nobody listens on; the wanted one where it is free."""
    for port in (wanted, 0, 0, 0):
        if port is None:
            continue
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listening.bind(("127.0.0.1", port))
                found = int(listening.getsockname()[1])
                if found not in _EMULATORS:
                    return found
    raise WorkFailed("no free port was found on 127.0.0.1")


def reap() -> None:
    """Take note of processes that ended, where it was this process that started them."""
    _started[:] = [one for one in _started if one.poll() is None]


def make_keys(folder: Path, names: Sequence[str]) -> None:
    """An ed25519 key pair for each name that has none: ``NAME`` and ``NAME.pub``, as ssh-keygen writes them."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in names:
        private, public = folder / name, folder / f"{name}.pub"
        if private.exists() and public.exists():
            continue
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        shown = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
        write_atomically(private, text)
        private.chmod(0o600)
        write_atomically(public, shown + b" pocketzoo lab\n")


def _write(shown: Identity, folder: Path) -> None:
    shutil.rmtree(folder / "sys", ignore_errors=True)
    for path, text in shown.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii", errors="replace")


def _launch(argv: Sequence[str], *, log: Path, settings: Mapping[str, str] | None = None) -> Process:
    nonce = secrets.token_hex(8)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    env = {**kept, **(settings or {}), MARK: f"{this_lab()}.{nonce}"}
    env["PATH"] = f"{env.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        running = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env, cwd="/", start_new_session=True
        )
    _started.append(running)
    found = process(running.pid, nonce)
    if found is None:
        raise WorkFailed(f"{argv[0]} ended as soon as it was started", detail=last_lines(log), where=str(log))
    return found


def last_lines(log: Path, count: int = 6) -> tuple[str, ...]:
    """The end of a log, for an error."""
    try:
        return tuple(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return ()
