"""Bright Cluster Manager, through ``cmsh`` on its head node."""
