"""Rooms in the database: messages, presence, reads. Synchronous, without a channel layer."""
