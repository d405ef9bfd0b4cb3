"""WebSocket connections as this project serves them: policies are enforced on the frame.

``install()`` puts the wire into Daphne; ``realtime.engine.server.uvicorn:WebSocketProtocol`` is for ``uvicorn --ws``.
"""
