"""How figures and names are written for a person."""
