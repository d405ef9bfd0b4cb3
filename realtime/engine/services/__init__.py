"""Django's database and cache, used without holding up the event loop."""
