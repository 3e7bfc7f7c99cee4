"""The embedded stand-in of the API: honest about its public description, with faults on demand."""
