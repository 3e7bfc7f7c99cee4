"""All that knows this API: the client, answers to pages, rows to columns."""
