"""Rooms: stored messages in one order, presence under leases, and who may do what."""
