"""From a request to an accepted or a refused handshake."""
