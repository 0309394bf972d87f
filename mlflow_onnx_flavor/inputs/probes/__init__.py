"""Generated inputs that look for trouble."""
