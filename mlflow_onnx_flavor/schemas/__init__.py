"""Every document that travels between steps or is stored."""
