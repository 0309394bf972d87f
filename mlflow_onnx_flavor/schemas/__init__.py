"""Schemas of every document that is stored or passed between steps."""
