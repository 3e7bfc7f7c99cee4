"""The seller list: CSV in any dialect, a plain list, Parquet, or standard input."""
