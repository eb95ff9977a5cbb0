"""The lab: virtual boards with a real ARM user space, made on this machine under emulation."""
