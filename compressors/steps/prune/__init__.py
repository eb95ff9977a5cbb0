"""Channel pruning: structure, criteria, removal, and the compact network as a file."""
