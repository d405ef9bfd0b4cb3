"""Finds the user of a handshake before the upgrade, by an access token, a one-time ticket or a session."""
