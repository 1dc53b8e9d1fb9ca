"""The image's own package manager and its other programs, as the stages use them."""
