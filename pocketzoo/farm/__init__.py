"""What makes a farm of several hosts: Dask for placement, behind certificates and a gate of our own.

gate        what may be unpickled: calls of a few named functions with JSON as their argument
security    TLS out of a folder of certificates, and where it may be left out
certs       the certificates
scheduler   the scheduler as a process: Dask's, with two questions that it answers
link        a client's connection, and its errors
versions    what must be the same on both sides
"""
