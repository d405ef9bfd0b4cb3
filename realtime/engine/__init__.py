"""Real-time endpoints for Django: policies, the server that enforces them, and fan-out. Never edited by an owner."""
