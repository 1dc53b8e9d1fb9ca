"""A version as a directory from which nodes are installed."""
