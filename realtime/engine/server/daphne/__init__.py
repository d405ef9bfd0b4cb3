"""Daphne with this server: ``daphne``, ``manage.py runserver`` and ``python -m project`` need no option."""
