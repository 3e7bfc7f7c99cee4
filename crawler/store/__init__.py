"""All that knows the disk: journal, ledger, lock, segments, publishing."""
