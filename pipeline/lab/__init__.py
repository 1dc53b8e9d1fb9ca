"""The lab: a cluster in a box, with stand-ins for what cannot be had, as strict as the originals."""
