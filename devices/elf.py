"""ELF files as proof of an ABI: reading the class of one, and tiny ones whose exit code shows that they ran."""

from __future__ import annotations

import struct

RAN = 42  # exit code of the tiny programs; no shell gives it for a program that does not start

_MACHINES = {  # (bits, e_machine): ABI
    (32, 3): "x86",
    (32, 40): "armv7",
    (64, 62): "x86_64",
    (64, 183): "armv8",
    (64, 243): "riscv64",
}
# exit(42) by the system call itself: no libc, no linker, nothing that a device could lack.
_PROGRAMS: dict[str, tuple[int, int, int, bytes]] = {  # ABI: bits, e_machine, e_flags, code
    "armv7": (32, 40, 0x05000000, struct.pack("<3I", 0xE3A0002A, 0xE3A07001, 0xEF000000)),
    "armv8": (64, 183, 0, struct.pack("<3I", 0xD2800540, 0xD2800BA8, 0xD4000001)),
    "x86": (32, 3, 0, bytes.fromhex("bb2a000000b801000000cd80")),
    "x86_64": (64, 62, 0, bytes.fromhex("bf2a000000b83c0000000f05")),
}
# What `uname -m` says could run. Without it an emulator registered with the kernel would prove any ABI.
_CANDIDATES = {
    "x86_64": ("x86_64", "x86"),
    "i686": ("x86",),
    "i386": ("x86",),
    "aarch64": ("armv8", "armv7"),
    "armv8l": ("armv7",),
    "armv7l": ("armv7",),
}


def abi_of_header(header: bytes) -> str | None:
    """The ABI an ELF file is for, from its first 20 bytes; None where it is no ELF or of another machine."""
    if len(header) < 20 or header[:4] != b"\x7fELF" or header[4] not in (1, 2):
        return None
    bits = 32 * header[4]
    machine = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    return _MACHINES.get((bits, machine))


def candidates(machine: str) -> tuple[str, ...]:
    """The ABIs a kernel that calls itself ``machine`` (`uname -m`) may run, best first; empty where it is not known."""
    return _CANDIDATES.get(machine, ())


def program(abi: str) -> bytes:
    """A static ELF executable of under 150 bytes for ``abi`` that ends with exit code ``RAN``.

    Raises:
        KeyError: no such program.
    """
    bits, machine, flags, code = _PROGRAMS[abi]
    base = 0x400000 if bits == 64 else 0x10000
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1, 0]) + bytes(8)
    if bits == 64:
        size = 64 + 56
        header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + size, 64, 0, flags, 64, 56, 1, 0, 0, 0)
        total = size + len(code)
        segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, total, total, 0x10000)
    else:
        size = 52 + 32
        header = struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, base + size, 52, 0, flags, 52, 32, 1, 0, 0, 0)
        total = size + len(code)
        segment = struct.pack("<IIIIIIII", 1, 0, base, base, total, total, 5, 0x10000)
    return ident + header + segment + code
