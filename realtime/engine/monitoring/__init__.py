"""Counters, metrics, health, logs and traces of this process."""
