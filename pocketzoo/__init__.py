"""The ground floor: what the five rooms share and none of them owns.

Errors and exit codes, the frame of every command, the state folder, atomic files, YAML with line numbers.
Nothing in here knows what a device, a model or a measurement is.
"""

__version__ = "0.1.0"
