"""Rooms in one process: brings what is stored to the connected members, in order and once."""
