"""testinfra on many nodes at once; who asks them is another's matter."""
