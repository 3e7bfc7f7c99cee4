"""Figures for monitors: a text file for the collector of Prometheus's node_exporter."""
