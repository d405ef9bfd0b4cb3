"""Real-time work: the owner's apps and endpoints, and the engine that they use (realtime/engine)."""
