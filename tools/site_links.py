"""For mkdocs: links of pages to folders, and to files outside of docs/, lead to the repository, where these are."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_REPOSITORY = "https://github.com/sqlstream-engine/sqlstream/blob/main/"
_LINK = re.compile(r"\]\((?P<path>\.\.?/[^)#\s]*|[^):#\s]+/)(?P<heading>#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text, before it becomes HTML."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def absolute(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link["path"]))
        if path.startswith("docs/") and not link["path"].endswith("/"):
            return link[0]
        return f"]({_REPOSITORY}{path}{link['heading'] or ''})"

    return _LINK.sub(absolute, markdown)
