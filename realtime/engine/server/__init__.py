"""Sockets and tasks: what carries a connection between the protocol and an ASGI application."""
