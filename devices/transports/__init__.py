"""The ways to a device. Only these modules start processes and open sockets."""
