"""The lab's nodes: base images that run, each with a real sshd and an adapter whose firmware can be burnt."""
