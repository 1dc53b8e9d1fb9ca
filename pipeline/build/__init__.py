"""From a recipe to a version: keys, plan, run."""
