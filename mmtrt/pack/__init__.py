"""A run's engines in one directory or file, with all that running them takes."""
