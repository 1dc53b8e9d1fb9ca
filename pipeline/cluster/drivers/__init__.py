"""One folder for each cluster manager; see ``base`` for what a driver has to do."""
