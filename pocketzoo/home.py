"""Where state lives: $POCKETZOO_HOME, else the platform's data directory."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The state folder. It is not created here: reading commands leave no trace on a machine they never wrote to."""
    override = os.environ.get("POCKETZOO_HOME")
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("pocketzoo", appauthor=False))
