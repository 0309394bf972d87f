"""Probes: generated inputs that provoke differences between source and candidate."""
