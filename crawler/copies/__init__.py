"""Copies elsewhere of what is published here: a bucket. Open `sending` first."""
