"""Cases for the tests of recipes and the site file."""
