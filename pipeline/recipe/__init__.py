"""What the user wrote: recipes, fragments and the site file, loaded with every error at once."""
