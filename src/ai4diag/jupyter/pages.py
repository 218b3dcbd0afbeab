"""Pages of the Jupyter server: whoever is logged in there sees them, nothing is fetched from elsewhere.

A page is HTML without script, but for the one that waits for MLflow; its script and its style carry a number that holds
once. The report is shown in a sandbox: even if its file were exchanged, nothing in it could run.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from ai4diag.errors import Ai4diagError
from ai4diag.jupyter import reports
from ai4diag.jupyter.launcher import PROXIED, START_LIMIT_SECONDS, root

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
SCRIPT = (Path(__file__).parent / "waiting.js").read_text(encoding="utf-8")
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"


def add(server: Any, pages: Mapping[str, type[Page]]) -> None:
    """Add pages to a server, each at `ai4diag/<name>`."""
    base = server.web_app.settings["base_url"]
    server.web_app.add_handlers(".*", [(url_path_join(base, "ai4diag", name), page) for name, page in pages.items()])


class Page(JupyterHandler):
    """A page about the workspace. What goes wrong is said in a page, with its cure."""

    auth_resource = "contents"

    @property
    def content_security_policy(self) -> str:
        """What a browser may do with the page."""
        once = f"'nonce-{self.once}'"
        return (
            f"default-src 'none'; style-src {once}; script-src {once}; connect-src 'self'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'self'"
        )

    @cached_property
    def once(self) -> str:
        """A number that holds for this answer."""
        return secrets.token_urlsafe(16)

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the page."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        here = root()
        try:
            if here is None:
                self.show(
                    "No workspace",
                    "<p>JupyterLab was not started in a folder of an ai4diag workspace. "
                    "Stop it, change to the workspace's folder, and run <code>ai4diag lab</code>.</p>",
                )
            else:
                await self.answer(here)
        except Ai4diagError as error:
            self.show("This did not work", f"<p>{escape(error.message)}</p><p>{escape(error.cure)}</p>")

    @abstractmethod
    async def answer(self, workspace: Path) -> None:
        """Answer for a workspace."""

    def show(self, title: str, body: str, script: str = "") -> None:
        """Answer with a page of ours; `body` is HTML, `title` is text."""
        code = f'<script nonce="{self.once}">{script}</script>' if script else ""
        self.finish(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
            f'<style nonce="{self.once}">{STYLE}</style></head>'
            f"<body><main><h1>{escape(title)}</h1>{body}</main>{code}</body></html>"
        )


class LatestReport(Page):
    """The report of the newest run."""

    async def answer(self, workspace: Path) -> None:
        """Show the report, or say how to make one."""
        found = await asyncio.to_thread(reports.newest, workspace)
        if found is None:
            self.show(
                "No report yet",
                "<p>A run makes one. In a terminal of JupyterLab (File, New, Terminal):</p>"
                "<pre>ai4diag run breast-mass --quick</pre><p>Then open this page again.</p>",
            )
            return
        self.set_header("Content-Security-Policy", REPORT_POLICY)
        self.finish(found)


class Tracking(Page):
    """MLflow is starting; then its page of training runs."""

    async def answer(self, workspace: Path) -> None:
        """Wait in the page, not in an empty window, while the proxy starts MLflow."""
        from ai4diag.tracking.store import locate
        from ai4diag.tracking.ui import elsewhere, training_page

        store = locate(workspace)
        page = await asyncio.to_thread(training_page, store)
        if away := elsewhere(store):
            self.redirect(away + page)
            return
        proxied = url_path_join(self.base_url, PROXIED, "/")
        if not page and "anyway" not in self.request.arguments:
            self.show(
                "No training runs yet",
                "<p>MLflow shows the training runs of this workspace, and there are none so far. "
                "In a terminal of JupyterLab (File, New, Terminal):</p><pre>ai4diag run breast-mass --quick</pre>"
                '<p>Then open this page again. Or <a href="?anyway=1">open MLflow all the same</a>.</p>',
            )
            return
        self.show(
            "MLflow is starting",
            f'<p id="state" role="status" data-health="{escape(proxied)}health" data-page="{escape(proxied + page)}">'
            f"This takes 5 to 25 seconds, {START_LIMIT_SECONDS} at most. Then it shows the training runs of "
            f"the folder <code>{escape(workspace.name)}</code>.</p>"
            '<p id="seconds" aria-hidden="true"></p>'
            f'<noscript><a href="{escape(proxied + page)}">Open it</a></noscript>',
            SCRIPT,
        )
