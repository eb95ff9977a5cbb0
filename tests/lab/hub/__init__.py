"""A Hub on loopback: the HTTP API that huggingface_hub 2.4 asks, with commits, LFS, a CDN of its own, and faults.

Start one by hand with ``python -m tests.lab.hub --port 0 --token T``.
"""

from tests.lab.hub.faults import Fault
from tests.lab.hub.server import HubServer

__all__ = ["Fault", "HubServer"]
