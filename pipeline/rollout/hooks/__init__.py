"""What is done with nodes before they are taken away, and undone afterwards: a module for each service."""
