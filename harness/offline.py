"""The cells of a device that cannot be asked now, as far as the inventory tells them. Pure, but for the registry."""

from __future__ import annotations

from collections.abc import Sequence

from devices.spec import DeviceSpec
from harness.plan import Impossible
from harness.registry import Registry
from harness.request import Group
from zoo.artifact import Artifact


def cells_from_inventory(
    spec: DeviceSpec, groups: Sequence[tuple[Group, Sequence[Artifact]]], why: str, *, registry: Registry
) -> list[Impossible]:
    """What would be measured were the device there, each with what stands against it.

    Args:
        spec: the device, from the inventory.
        groups: of the request, with the models each means.
        why: why the device cannot be asked.
        registry: the binaries that are registered here.
    """
    found: dict[Impossible, None] = {}
    for group, artifacts in groups:
        if spec.name not in group.devices:
            continue
        for artifact in artifacts:
            for abi in group.abis or spec.abis or ("ABI not known",):
                for threads in dict.fromkeys(group.threads):
                    reason = _reason(spec, abi, why, registry)
                    found[Impossible(artifact.name, spec.name, abi, threads, reason)] = None
    return list(found)


def _reason(spec: DeviceSpec, abi: str, why: str, registry: Registry) -> str:
    if spec.abis and abi not in spec.abis:
        return f"{spec.name} runs {', '.join(spec.abis)}"
    if spec.runner == "benchmark_model" and abi in ("armv7", "armv8") and registry.newest(spec.runner, abi) is None:
        return f"{why}; and no {spec.runner} for {abi} is registered: harness runner add PATH --abi {abi}"
    return why
