"""The commands beside the nightly job itself."""
