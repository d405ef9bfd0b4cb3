"""Who is asking, found out before the upgrade: an access token, a one-time ticket or a session."""

from realtime.engine.auth.identity import Authentication, Identity, identify
from realtime.engine.auth.tokens import VerifiedToken, verify_access_token

__all__ = ["Authentication", "Identity", "VerifiedToken", "identify", "verify_access_token"]
