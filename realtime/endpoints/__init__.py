"""The endpoints, one short file each. Copy one to start your own, and give it a line in realtime/routing.py."""
