"""A stand-in for Warewulf's ``wwctl``: as strict as the real one, its traps too, its state on disk."""
