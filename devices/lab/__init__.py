"""The lab: virtual boards and phones with a real ARM user space, made on this machine under emulation."""
