"""A hook of MkDocs: the examples in the help of commands are code, a line each, as in the terminal."""

from __future__ import annotations

import re

_EXAMPLES = re.compile(r"<p>(Examples?:)\n(.*?)</p>", flags=re.DOTALL)


def on_page_content(html: str, **_: object) -> str:
    """Called by MkDocs with the page's HTML; returns what is written."""
    return _EXAMPLES.sub(_as_code, html)


def _as_code(found: re.Match[str]) -> str:
    lines = "\n".join(line.strip() for line in found[2].splitlines())
    return f'<p>{found[1]}</p>\n<div class="highlight"><pre><code>{lines}</code></pre></div>'
