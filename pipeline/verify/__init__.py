"""Testing a version in its own chroot before any node sees it."""
