"""Nodes to a version: in a safe order, each proved, whatever happens meanwhile; and back."""
