"""Telling somebody how a run went: a dead man's switch, a webhook, a command."""
