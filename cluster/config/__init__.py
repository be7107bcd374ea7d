"""Configuration: options, the file they are read from, credentials."""
