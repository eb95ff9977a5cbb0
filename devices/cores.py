"""Names of ARM cores by the implementer and part number that /proc/cpuinfo prints. A table, nothing else.

Qualcomm's Kryo cores from the 2xx on are derived from ARM's; the ARM core stands in brackets, because it decides which
kernels a runtime picks.
"""

from __future__ import annotations

CORES: dict[tuple[int, int], str] = {
    (0x41, 0xC05): "Cortex-A5",
    (0x41, 0xC07): "Cortex-A7",
    (0x41, 0xC08): "Cortex-A8",
    (0x41, 0xC09): "Cortex-A9",
    (0x41, 0xC0D): "Cortex-A12",
    (0x41, 0xC0E): "Cortex-A17",
    (0x41, 0xC0F): "Cortex-A15",
    (0x41, 0xD01): "Cortex-A32",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
    (0x51, 0x06F): "Krait",
    (0x51, 0x201): "Kryo Silver",
    (0x51, 0x205): "Kryo Gold",
    (0x51, 0x211): "Kryo Silver",
    (0x51, 0x800): "Kryo 2xx Gold (Cortex-A73)",
    (0x51, 0x801): "Kryo 2xx Silver (Cortex-A53)",
    (0x51, 0x802): "Kryo 3xx Gold (Cortex-A75)",
    (0x51, 0x803): "Kryo 3xx Silver (Cortex-A55)",
    (0x51, 0x804): "Kryo 4xx Gold (Cortex-A76)",
    (0x51, 0x805): "Kryo 4xx Silver (Cortex-A55)",
    (0x53, 0x001): "Exynos M1",
    (0x53, 0x002): "Exynos M3",
    (0x53, 0x003): "Exynos M4",
    (0x53, 0x004): "Exynos M5",
    (0x61, 0x022): "Apple Icestorm",
    (0x61, 0x023): "Apple Firestorm",
}


def core_name(implementer: int, part: int) -> str:
    """``Cortex-A53``; where the table has no name, the two numbers, which are a name too."""
    return CORES.get((implementer, part), f"implementer 0x{implementer:02x} part 0x{part:03x}")
