"""The seller list as people make it."""
