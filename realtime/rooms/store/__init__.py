"""Rooms in the database: messages, presence, retention. Synchronous, without a channel layer."""
