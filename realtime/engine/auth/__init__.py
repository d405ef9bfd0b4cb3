"""Who is asking, found out before the upgrade: an access token, a one-time ticket or a session."""
