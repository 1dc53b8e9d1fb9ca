"""The command: a module for each verb that parses, calls and prints."""
