"""What to say when a name is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """The known names closest to ``name``, best first; names that contain it, or that it contains, count as close.

    Returns:
        At most ``most`` names; empty where nothing is close.
    """
    pool = sorted(set(known))
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, pool, n=most, cutoff=0.6)
    contained = [k for k in pool if len(wanted) >= 3 and (wanted in k.lower() or k.lower() in wanted)]
    return tuple(dict.fromkeys([*close, *contained]))[:most]


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """``did you mean a, b or c?`` or None where nothing is close."""
    close = nearest(name, known)
    if not close:
        return None
    if len(close) == 1:
        return f"did you mean {close[0]}?"
    return f"did you mean {', '.join(close[:-1])} or {close[-1]}?"
