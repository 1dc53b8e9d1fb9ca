"""Build, verify, version and publish the software images of a cluster."""
