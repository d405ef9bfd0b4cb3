"""The runtime of generated clients in Python: ``manage.py generateclient python`` copies it."""
