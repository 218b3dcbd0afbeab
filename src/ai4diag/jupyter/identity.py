"""Who may use a lab: whoever has its token, which is made anew at each start, whatever the user's settings say.

`c.ServerApp.token = ""`, which many have in `~/.jupyter`, would let in every account of the machine without a word.
"""

from __future__ import annotations

import secrets
from typing import Any

from jupyter_server.auth.identity import PasswordIdentityProvider


class OwnToken(PasswordIdentityProvider):
    """Jupyter's own way to log in, with a fresh token; a password of the user's settings holds beside it."""

    token_generated = True  # so the address is printed with it

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.token = secrets.token_hex(24)
