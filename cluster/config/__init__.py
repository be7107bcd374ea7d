"""Configuration: options, the file they are read from, how it is printed, credentials."""
