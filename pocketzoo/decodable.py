"""Records that several threads may decode: msgspec is told of them where they are written, while one thread looks.

msgspec (0.22) works out how to decode a record when it is first asked to, and notes it as known before it is: a second
thread that asks meanwhile reads a null pointer, and the process is gone without a word. A module is imported by one
thread at a time, so what is worked out there is complete before anybody can ask.
"""

from __future__ import annotations

import msgspec


def decodable(*records: type) -> None:
    """Have msgspec work out these records now; called by the module that defines them, below the last one."""
    for record in records:
        msgspec.json.Decoder(record)
