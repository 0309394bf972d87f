"""Reports of a release, one output a file."""
