"""What is kept: layers, versions and downloads; every change of it is one rename after a sync."""
