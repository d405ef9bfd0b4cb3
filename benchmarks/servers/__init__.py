"""The peers: plain servers as their own documentation shows them, with an echo at /ws and a broadcast at /ws/chat."""
