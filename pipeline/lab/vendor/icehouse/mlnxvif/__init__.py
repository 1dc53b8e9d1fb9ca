"""Mellanox VIF driver for Nova (the lab's stand-in)."""
