"""A user model that logs in by an email address, in place of ``realtime.accounts``: the suite runs with it too.

docs/accounts.md shows its modules; ``.ci/email-login`` runs the tests.
"""
