"""Ready SQL over what is published: each view in a file of its own, printed or written into a DuckDB file."""
