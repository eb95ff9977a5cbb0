"""Ctrl-C for processes that tests start."""

from __future__ import annotations

import signal


def as_in_a_terminal() -> None:
    """For ``preexec_fn``: a shell's background job ignores Ctrl-C, and so would everything the tests start in one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
