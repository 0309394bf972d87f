"""Reports of a release, one file for each output format."""
