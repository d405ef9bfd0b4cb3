"""Topics: subscriptions with presence, and with a store also history, one order and resume."""
