"""A nightly crawler of TikTok Shop video analytics."""

__version__ = "0.1.0"
