"""A farm told: hosts, devices, owners, queue. Pure."""

from __future__ import annotations

from typing import Any

from harness.farm.records import Offer
from harness.farm.seeing import Seen, parse_key


def record(seen: Seen) -> dict[str, Any]:
    """A farm as one JSON document."""
    return {
        "hosts": [
            {
                "name": host.name,
                "pocketzoo": host.versions.pocketzoo,
                "versions": host.versions,
                "results": host.results,
                "waiting_results": host.waiting,
                "cpu": host.cpu,
                "gpu": host.gpu,
            }
            for host in seen.hosts
        ],
        "devices": [
            {
                "name": offer.device,
                "host": offer.host,
                "offered": offer.reason is None,
                "reason": offer.reason,
                "owner": offer.owner,
                "queue": len(seen.queued().get(offer.device, ())),
                "soc": offer.soc,
                "model": offer.model,
                "abis": offer.abis,
                "hardware": offer.hardware,
                "fingerprint": offer.fingerprint,
            }
            for offer in seen.offers
        ],
        "queue": [
            {"task": named.kind, "campaign": named.campaign, "device": named.device, "state": state, "worker": worker}
            for key, state, _, worker in seen.tasks
            if (named := parse_key(key)) is not None
        ],
    }


def text(seen: Seen) -> str:
    """A farm as tables."""
    from tabulate import tabulate

    if not seen.hosts:
        return "no host has joined\n  next:  harness farm worker --scheduler URL, on each host"
    queued = seen.queued()
    hosts = [
        [
            host.name,
            host.versions.pocketzoo,
            sum(offer.host == host.name and offer.reason is None for offer in seen.offers),
            host.cpu,
            host.gpu,
            host.waiting,
            host.results,
        ]
        for host in seen.hosts
    ]
    headers = ["Host", "pocketzoo", "Devices", "CPU jobs", "GPUs", "Results waiting", "Results go to"]
    parts = [tabulate(hosts, headers=headers, tablefmt="simple", disable_numparse=True)]
    devices = [
        [
            offer.device,
            offer.host,
            offer.soc or "",
            ",".join(offer.abis),
            _state(offer),
            len(queued.get(offer.device, ())),
        ]
        for offer in seen.offers
    ]
    if devices:
        headers = ["Device", "Host", "SoC", "ABIs", "State", "Turns"]
        parts.append(tabulate(devices, headers=headers, tablefmt="simple", disable_numparse=True))
    by: dict[tuple[str, str], list[str]] = {}
    for key, state, _, _ in seen.tasks:
        named = parse_key(key)
        if named is not None:
            by.setdefault((named.campaign, named.device), []).append(state)
    rows = [
        [campaign, device, len(states), "nobody offers it" if "no-worker" in states else "in the queue"]
        for (campaign, device), states in sorted(by.items())
    ]
    if rows:
        headers = ["Campaign", "Device", "Turns", "State"]
        parts.append(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))
    return "\n\n".join(parts)


def _state(offer: Offer) -> str:
    if offer.reason is not None:
        return f"not offered: {offer.reason}"
    return f"measures {offer.owner}" if offer.owner else "free"
