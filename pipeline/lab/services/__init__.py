"""What runs on the nodes beside jobs, as seen from the head node: Ceph, Nova, Slurm and Neutron's agents.

Stand-ins for their programs, which answer as the releases do that ``switches.py`` names and as the nodes are
just now. They are run without site packages: only the standard library.
"""
