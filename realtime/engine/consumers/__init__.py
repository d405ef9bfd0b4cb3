"""Consumers that state a policy, and how they are served."""
