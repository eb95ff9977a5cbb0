"""Devices of many hosts in one campaign: Dask places, PostgreSQL holds the results, a remote of the zoo the files.

records   what travels, as JSON
versions  what must be the same on both sides
offers    who offers what, and what of it is wanted (pure)
turns     the two tasks: a device planned, a few cells measured
spool     results that wait on a host's disk while the database is away
runners   runners by digest, published and brought
host      a host as a process: its devices examined, offered, taken back
seeing    a farm looked at
client    a campaign sent to a farm and watched
"""
