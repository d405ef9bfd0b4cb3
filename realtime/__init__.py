"""Real-time endpoints for Django: policies, the wire that enforces them, and fan-out."""
