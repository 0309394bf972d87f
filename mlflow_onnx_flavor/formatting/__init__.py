"""Write figures and names for a person to read."""
