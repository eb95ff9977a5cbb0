"""How many channels each group keeps: the protocols of the `prune` step, by name (see :mod:`.problem`)."""
