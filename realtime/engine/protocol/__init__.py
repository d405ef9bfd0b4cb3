"""The WebSocket protocol without I/O: bytes into ASGI events and back. The caller gives the time."""
