"""Where it is done: a root made of layers, in namespaces that die with their process."""
