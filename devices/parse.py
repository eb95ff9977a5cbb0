"""From what a device prints to facts and conditions: pure functions. ``probe`` asks the device.

What cannot be read is named in ``unknown`` with the reason. It is never 0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from devices.cores import core_name
from devices.facts import ClusterFacts, Conditions, DeviceFacts

_CPU = "/sys/devices/system/cpu"
_COLDEST_C, _HOTTEST_C = -40.0, 200.0
_PROPERTIES = (
    "ro.board.platform",
    "ro.build.fingerprint",
    "ro.build.type",
    "ro.build.version.release",
    "ro.build.version.sdk",
    "ro.hardware",
    "ro.product.cpu.abilist",
    "ro.product.device",
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
)
# The facts that decide a latency. RAM is left out: MemTotal differs by some pages from boot to boot.
_FINGERPRINTED = ("soc", "model", "os_build", "kernel", "abis", "cores", "clusters", "cpu_features")


class Sections:
    """The output of a probing script: sections by name, and the files of its ``files`` section."""

    def __init__(self, text: str) -> None:
        self._sections: dict[str, list[str]] = {}
        self.files: dict[str, list[str]] = {}
        self.refused: dict[str, str] = {}
        current = self._sections.setdefault("", [])
        for line in text.splitlines():
            if line.startswith("@@ "):
                current = self._sections.setdefault(line[3:].strip(), [])
            else:
                current.append(line)
        for line in self._sections.get("files", ()):
            match = re.match(r"(/[^=!]+)([=!])(.*)", line)
            if match and match[2] == "=":
                self.files.setdefault(match[1], []).append(match[3])
            elif match:
                self.refused[match[1]] = match[3]

    def __contains__(self, name: str) -> bool:
        return name in self._sections

    def lines(self, name: str) -> list[str]:
        """The lines of a section; empty where it is not there."""
        return [line for line in self._sections.get(name, ()) if line.strip()]

    def first(self, path: str) -> str | None:
        """The first line of a file, stripped; None where it could not be read or is blank."""
        return (self.files.get(path) or [""])[0].strip() or None

    def matching(self, pattern: str) -> dict[str, str]:
        """The first line of each file whose path fits the pattern, by the pattern's first group."""
        fit = re.compile(pattern)
        return {match[1]: lines[0].strip() for path, lines in self.files.items() if (match := fit.fullmatch(path))}


def cpu_list(text: str) -> tuple[int, ...]:
    """``0-3,6`` as numbers.

    Raises:
        ValueError: it is no such list.
    """
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def parse_cpuinfo(lines: Sequence[str]) -> tuple[dict[int, dict[str, str]], dict[str, str]]:
    """/proc/cpuinfo: the keys of each processor by its number, and the keys that stand outside (``Hardware``)."""
    processors: dict[int, dict[str, str]] = {}
    outside: dict[str, str] = {}
    into = outside
    for line in lines:
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon:
            continue
        if key == "processor" and value.isdigit():
            into = processors.setdefault(int(value), {})
        elif key in ("Hardware", "Revision", "Serial"):
            outside[key] = value  # ARM kernels print these after the last processor
        else:
            into[key] = value
    # Old ARM kernels print one block for all processors.
    for key in ("Features", "CPU implementer", "CPU part"):
        if key in outside:
            for processor in processors.values():
                processor.setdefault(key, outside[key])
    return processors, outside


def parse_getprop(lines: Sequence[str]) -> dict[str, str]:
    """Android's ``[key]: [value]`` lines; empty values are left out."""
    found = (re.fullmatch(r"\[([^\]]+)\]: \[(.*)\]\s*", line) for line in lines)
    return {match[1]: match[2] for match in found if match and match[2]}


def temperature(text: str) -> float | None:
    """Degrees Celsius from a thermal file: kernels give thousandths, some old phones tenths or whole degrees.

    Returns:
        None for what no sensor measures: 0 exactly (an unused zone) and anything outside -40 to 200.
    """
    try:
        value = float(text)
    except ValueError:
        return None
    degrees = value / 1000 if abs(value) >= 1000 else value / 10 if abs(value) > _HOTTEST_C else value
    return degrees if degrees != 0 and _COLDEST_C <= degrees <= _HOTTEST_C else None


def parse_facts(
    text: str,
    *,
    name: str,
    proofs: Mapping[str, str],
    unproven: str | None = None,
    asked: Collection[str] = (),
) -> DeviceFacts:
    """What the script FACTS printed, as facts.

    Args:
        text: its output.
        name: the device's name in the inventory.
        proofs: how each ABI was proven, best first.
        unproven: why none was, where ``proofs`` is empty.
        asked: getprop keys to keep beside those that are always kept.
    """
    seen = Sections(text)
    unknown: dict[str, str] = {}
    processors, outside = parse_cpuinfo(seen.lines("cpuinfo"))
    properties = parse_getprop(seen.lines("getprop"))
    uname = [*seen.lines("uname"), "", "", ""]
    gpus = seen.lines("gpu")
    abis = list(proofs)
    if gpus:
        abis.append("cuda")
        proofs = {**proofs, "cuda": f"nvidia-smi lists {', '.join(gpus)}"}
    if not abis:
        unknown["abis"] = unproven or "no program of a known ABI ran"
    cpus = _present(seen, processors)
    clusters = _clusters(seen, processors, cpus)
    if not cpus:
        unknown["cores"] = f"{_CPU}/present and /proc/cpuinfo name no processor"
    elif any(cluster.max_mhz is None for cluster in clusters):
        refused = next((why for path, why in seen.refused.items() if path.endswith("cpuinfo_max_freq")), None)
        unknown["clusters.max_mhz"] = refused or "no cpufreq: the kernel or the hypervisor hides frequencies"
    soc = _soc(seen, processors, outside, properties)
    model = _model(seen, properties)
    os_build = properties.get("ro.build.fingerprint") or _os_release(seen)
    ram = re.search(r"MemTotal:\s*(\d+) kB", "\n".join(seen.lines("meminfo")))
    listed = (one.get("Features") or one.get("flags") or "" for one in processors.values())
    features = sorted({word for line in listed for word in line.split()})
    for field, value, why in (
        ("soc", soc, "neither getprop, /sys/devices/soc0, the device tree nor /proc/cpuinfo names it"),
        ("model", model, "neither getprop, the device tree nor DMI names it"),
        ("os_build", os_build, "neither ro.build.fingerprint nor /etc/os-release is there"),
        ("kernel", uname[1], "uname printed nothing"),
        ("ram_bytes", ram, "/proc/meminfo has no MemTotal"),
        ("cpu_features", features, "/proc/cpuinfo lists no features"),
    ):
        if not value:
            unknown[field] = why
    facts = DeviceFacts(
        name=name,
        fingerprint="0" * 64,
        soc=soc,
        model=model,
        os_build=os_build,
        kernel=f"{uname[0]} {uname[1]}".strip() or None,
        abis=tuple(abis),
        cores=len(cpus) or None,
        clusters=clusters,
        ram_bytes=int(ram[1]) * 1024 if ram else None,
        cpu_features=tuple(features),
        abi_proofs=dict(proofs),
        properties={key: properties[key] for key in sorted({*_PROPERTIES, *asked}) if key in properties}
        | ({"gpu": ", ".join(gpus)} if gpus else {})
        | ({"machine": uname[2]} if uname[2] else {}),
        unknown=unknown,
    )
    return msgspec.structs.replace(facts, fingerprint=fingerprint(facts))


def fingerprint(facts: DeviceFacts) -> str:
    """SHA-256 over the facts that decide a latency; the same from boot to boot and under any inventory name."""
    document = {field: getattr(facts, field) for field in _FINGERPRINTED}
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()


def parse_conditions(text: str, *, time: datetime) -> Conditions:
    """What the script CONDITIONS printed, as conditions. ``time`` is this host's, in UTC."""
    seen = Sections(text)
    unknown: dict[str, str] = {}
    temperatures = _temperatures(seen)
    frequencies, most, governors = _frequencies(seen)
    for line in seen.lines("gpu"):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and all(re.fullmatch(r"\d+(\.\d+)?", cell) for cell in cells):
            temperatures[f"gpu{cells[0]}"] = float(cells[1])
            frequencies[f"gpu{cells[0]}"], most[f"gpu{cells[0]}"] = float(cells[2]), float(cells[3])
    hidden = next((why for path, why in seen.refused.items() if "/cpufreq/" in path), None)
    hot = next((why for path, why in seen.refused.items() if path.endswith("/temp")), None)
    no_cpufreq = hidden or "no cpufreq: the kernel or the hypervisor hides frequencies"
    battery = _battery(seen)
    load = re.match(r"(\d+\.\d+) ", seen.first("/proc/loadavg") or "")
    free = _free_bytes(seen)
    screen = re.search(r"mWakefulness=(\w+)", "\n".join(seen.lines("power")))
    no_battery = "there is no battery, or it cannot be read"
    for field, value, why in (
        ("temperatures_c", temperatures, hot or "no thermal zone or sensor is there"),
        ("frequencies_mhz", frequencies, no_cpufreq),
        ("max_frequencies_mhz", most, no_cpufreq),
        ("governors", governors, no_cpufreq),
        ("load1", load, "/proc/loadavg cannot be read"),
        ("battery_percent", "percent" in battery, no_battery),
        ("battery_c", "celsius" in battery, no_battery),
        ("charging", "charging" in battery, no_battery),
        ("free_bytes", free is not None, "df printed nothing that can be read"),
        ("screen_on", screen, "there is no Android power service"),
    ):
        if not value:
            unknown[field] = why
    return Conditions(
        time=time.astimezone(UTC).isoformat(timespec="milliseconds"),
        temperatures_c=temperatures,
        frequencies_mhz=frequencies,
        max_frequencies_mhz=most,
        governors=governors,
        load1=float(load[1]) if load else None,
        battery_percent=battery.get("percent"),
        battery_c=battery.get("celsius"),
        charging=bool(battery["charging"]) if "charging" in battery else None,
        free_bytes=free,
        screen_on=screen[1] == "Awake" if screen else None,
        unknown=unknown,
    )


def _present(seen: Sections, processors: Mapping[int, object]) -> tuple[int, ...]:
    try:
        return cpu_list(seen.first(f"{_CPU}/present") or "")
    except ValueError:
        return tuple(sorted(processors))


def _clusters(
    seen: Sections, processors: Mapping[int, Mapping[str, str]], cpus: tuple[int, ...]
) -> tuple[ClusterFacts, ...]:
    top = seen.matching(rf"{_CPU}/cpu(\d+)/cpufreq/cpuinfo_max_freq")
    kinds: dict[tuple[str | None, float | None], list[int]] = {}
    for cpu in cpus:
        khz = top.get(str(cpu), "")
        mhz = int(khz) / 1000 if khz.isdigit() and int(khz) > 0 else None
        kinds.setdefault((_core(processors.get(cpu, {})), mhz), []).append(cpu)
    return tuple(ClusterFacts(cpus=tuple(same), core=core, max_mhz=mhz) for (core, mhz), same in kinds.items())


def _core(processor: Mapping[str, str]) -> str | None:
    try:
        return core_name(int(processor["CPU implementer"], 16), int(processor["CPU part"], 16))
    except (KeyError, ValueError):
        return processor.get("model name")


def _soc(
    seen: Sections,
    processors: Mapping[int, Mapping[str, str]],
    outside: Mapping[str, str],
    properties: Mapping[str, str],
) -> str | None:
    compatible = seen.lines("compatible")
    x86 = next((one["model name"] for one in processors.values() if "model name" in one and "flags" in one), None)
    return (
        properties.get("ro.soc.model")
        or properties.get("ro.board.platform")
        or seen.first("/sys/devices/soc0/machine")
        or x86
        or (compatible[-1] if compatible else None)
        or outside.get("Hardware")
        or next((one["model name"] for one in processors.values() if "model name" in one), None)
    )


def _model(seen: Sections, properties: Mapping[str, str]) -> str | None:
    tree = seen.lines("model")
    if "ro.product.model" in properties:
        maker, model = properties.get("ro.product.manufacturer", ""), properties["ro.product.model"]
        return model if model.lower().startswith(maker.lower()) else f"{maker} {model}"
    if tree:
        return tree[0].strip()
    parts = (seen.first("/sys/class/dmi/id/sys_vendor"), seen.first("/sys/class/dmi/id/product_name"))
    return " ".join(part for part in parts if part) or None


def _os_release(seen: Sections) -> str | None:
    for line in seen.files.get("/etc/os-release", ()):
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip("\"'") or None
    return None


def _temperatures(seen: Sections) -> dict[str, float]:
    found: dict[str, float] = {}
    zones = seen.matching(r"/sys/class/thermal/(thermal_zone\d+)/temp")
    types = seen.matching(r"/sys/class/thermal/(thermal_zone\d+)/type")
    chips = seen.matching(r"/sys/class/hwmon/(hwmon\d+)/name")
    sensors = seen.matching(r"/sys/class/hwmon/(hwmon\d+/temp\d+)_input")
    named = [(types.get(zone, zone), zone, value) for zone, value in zones.items()]
    named += [(chips.get(at.split("/")[0], at), at.replace("/", "."), value) for at, value in sensors.items()]
    for name, at, value in named:
        degrees = temperature(value)
        if degrees is not None:
            found[name if name not in found else f"{name}#{at}"] = degrees
    for line in seen.lines("thermal"):
        match = re.search(r"Temperature\{mValue=(-?[\d.]+),.*?mName=([^,}]+)", line)
        if match and (degrees := temperature(match[1])) is not None:
            found[match[2]] = degrees  # the service prints a cached list first, then the current one
    return found


def _frequencies(seen: Sections) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    def mhz(file: str) -> dict[str, float]:
        values = seen.matching(rf"{_CPU}/cpu(\d+)/cpufreq/{file}")
        return {cpu: int(khz) / 1000 for cpu, khz in values.items() if khz.isdigit() and int(khz) > 0}

    current = mhz("scaling_cur_freq")
    if not current:
        cells = [line.partition(":")[2].strip() for line in seen.lines("mhz")]
        current = {str(cpu): float(cell) for cpu, cell in enumerate(cells) if re.fullmatch(r"[1-9]\d*\.\d+", cell)}
    governors = seen.matching(rf"{_CPU}/cpu(\d+)/cpufreq/scaling_governor")
    return current, mhz("scaling_max_freq"), governors


def _battery(seen: Sections) -> dict[str, float]:
    """``percent``, ``celsius`` and ``charging`` (0 or 1), each only where it was read."""
    found: dict[str, float] = {}
    service = dict(re.findall(r"^\s*([A-Za-z ]+): (-?\w+)\s*$", "\n".join(seen.lines("battery")), re.MULTILINE))
    types = seen.matching(r"/sys/class/power_supply/([^/]+)/type")
    supply = next((name for name, kind in types.items() if kind == "Battery"), None)
    files = {key: seen.first(f"/sys/class/power_supply/{supply}/{key}") for key in ("capacity", "temp", "status")}
    level = service.get("level") or files["capacity"]
    if level is not None and re.fullmatch(r"\d+", level):
        found["percent"] = float(level)
    tenths = service.get("temperature") or files["temp"]
    if tenths is not None and re.fullmatch(r"-?[1-9]\d*", tenths):
        found["celsius"] = int(tenths) / 10
    powered = [value for key, value in service.items() if key.endswith("powered")]
    if powered:
        found["charging"] = float("true" in powered)
    elif files["status"] in ("Charging", "Full", "Discharging", "Not charging"):
        found["charging"] = float(files["status"] in ("Charging", "Full"))
    return found


def _free_bytes(seen: Sections) -> int | None:
    lines = seen.lines("df")
    cells = lines[-1].split() if len(lines) > 1 else []
    return int(cells[3]) * 1024 if len(cells) >= 6 and cells[3].isdigit() else None
