"""Carries messages between the processes of one channel layer."""
