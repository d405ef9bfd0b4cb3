"""The page that shows and tries every endpoint."""
