"""A page as a browser shows it: what it asks for and complains of, what is too wide, what the keyboard reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""Rules of axe: WCAG 2.2, levels A and AA, and what axe holds good practice."""

OUTSIDE = """() => {
  const inside = 'a.skip, .scroll *, .unseen, svg *, head, head *';
  return [...document.querySelectorAll('body *')].filter(e => !e.matches(inside)).filter(e => {
    const r = e.getBoundingClientRect();
    return r.width > 0 && (r.right > document.documentElement.clientWidth + 1 || r.left < -1);
  }).map(e => e.tagName + '.' + e.className + ' ' + (e.textContent || '').trim().slice(0, 60));
}"""
"""Elements that stick out of the page, whatever holds them; what is in a scrolling box may."""

CUT = """() => [...document.querySelectorAll('table, svg[role=img]')].filter(e => {
  const r = e.getBoundingClientRect();
  return r.width > 0 && r.right > document.documentElement.clientWidth + 1;
}).map(e => (e.querySelector('caption, title') || e).textContent.trim().slice(0, 60))"""
"""Tables and plots that are wider than the paper."""

CROWDED = """() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    if (!svg.getBoundingClientRect().width || svg.classList.contains('overlay')) continue;
    const frame = svg.getBoundingClientRect(), name = svg.querySelector('title').textContent;
    const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    for (const [text, r] of texts)
      if (r.left < frame.left - 2 || r.right > frame.right + 2 || r.top < frame.top - 2 || r.bottom > frame.bottom + 2)
        found.push(`${name}: '${text}' is cut`);
    texts.forEach(([text, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > 2 && height > 0.4 * Math.min(a.height, b.height)) found.push(`${name}: '${text}' on '${other}'`);
    }));
  }
  return found;
}"""
"""Words of plots that are cut, or that stand on other words."""

TINY = """least => [...document.querySelectorAll('svg[role=img]:not(.overlay) text')].filter(t => {
  const r = t.getBoundingClientRect();
  const size = t.textContent.trim().length > 2 ? Math.min(r.width, r.height) : r.height;  // some words stand upright
  return r.height > 0 && size < least;
}).map(t => t.closest('svg').querySelector('title').textContent + ': ' + t.textContent)"""
"""Words of plots that are smaller than so many pixels."""

UNREACHED = """() => [...document.querySelectorAll('*')].filter(e => {
  const style = getComputedStyle(e);
  const moves = ['auto', 'scroll'];
  const wide = moves.includes(style.overflowX) && e.scrollWidth > e.clientWidth + 1;
  const high = moves.includes(style.overflowY) && e.scrollHeight > e.clientHeight + 1;
  return (wide || high) && e.tabIndex < 0 && e !== document.documentElement && e !== document.body;
}).map(e => e.className)"""
"""Boxes that scroll and cannot be reached by keyboard."""

FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const r = e.getBoundingClientRect(), style = getComputedStyle(e);
  const every = [...document.querySelectorAll('a[href], summary, [tabindex]')];
  const text = (e.getAttribute('aria-label') || e.textContent).trim().slice(0, 60);
  return {
    position: every.indexOf(e), tag: e.tagName, text,
    outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    shown: r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth,
  };
}"""

FIGURES = """() => [...document.querySelectorAll('figure')].filter(f => f.querySelector('svg')).map(f => {
  const svg = f.querySelector('svg');
  const said = (svg.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id));
  return {
    role: svg.getAttribute('role'), said: said.map(e => e ? e.textContent : '').join(' '),
    numbers: f.querySelectorAll('details table tbody tr').length, picture: svg.classList.contains('overlay'),
  };
})"""


class Seen:
    """A file that is open in a browser, and what it did meanwhile.

    Attributes:
        page: playwright's page.
        asked: addresses that the page asked for.
        complaints: what it wrote to the console, and errors.
    """

    def __init__(self, page: Any, path: Path) -> None:
        self.page, self.asked, self.complaints = page, [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.address = path.resolve().as_uri()
        page.goto(self.address)

    def left(self) -> list[str]:
        """Return what the page asked for beside itself; data that it carries is itself."""
        return [url for url in self.asked if url != self.address and not url.startswith("data:")]

    def violations(self) -> list[str]:
        """Return what axe finds, one line per rule and element."""
        from axe_playwright_python.sync_playwright import Axe

        options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{rule['id']}: {node['html'][:150]}" for rule in found for node in rule["nodes"]]

    def measure(self, script: str, *given: Any) -> list[Any]:
        """Return what one of the scripts above finds."""
        return list(self.page.evaluate(script, *given))

    def scrolls_sideways(self) -> bool:
        """Whether the page as a whole is wider than the window."""
        return bool(self.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))

    def walk(self, most: int = 400) -> list[dict[str, Any]]:
        """Press Tab from the top of the page to its end; return what had the focus, in order."""
        found: list[dict[str, Any]] = []
        for _ in range(most):
            self.page.keyboard.press("Tab")
            focused = self.page.evaluate(FOCUSED)
            if focused is None or (found and focused["position"] == found[0]["position"]):
                break
            found.append(focused)
        return found
