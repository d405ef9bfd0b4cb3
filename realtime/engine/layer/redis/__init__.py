"""The way between the processes of one channel layer."""
