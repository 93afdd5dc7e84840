"""What was installed when a sweep ran, as a requirements file: `pip install -r` makes it again.

Names and versions alone: no addresses of registries, no folders of this machine. What did not come from a registry is
named in a comment, for a version says nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib import metadata


def requirements(distributions: Iterable[metadata.Distribution] | None = None) -> str:
    """The text of the file: `name == version` a line, in alphabetical order.

    Args:
        distributions: by default all that this interpreter finds, each name as it is found first, as an import does.
    """
    found: dict[str, str] = {}
    for each in metadata.distributions() if distributions is None else distributions:
        facts = each.metadata  # read and parsed anew each time that it is asked for
        if name := facts["Name"]:  # a folder that a failed installation left behind has none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), _line(f"{name} == {facts['Version']}", each))
    lines = [found[name] for name in sorted(found)]
    return "\n".join(["# What was installed when the sweep ran.", *lines]) + "\n"


def _line(pinned: str, distribution: metadata.Distribution) -> str:
    origin = _origin(distribution)
    return pinned if not origin else f"# {pinned}: {origin}"


def _origin(distribution: metadata.Distribution) -> str:
    """Where it came from if not from a registry; see PEP 610 (direct_url.json)."""
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
        if not direct:
            return ""
        if commit := direct.get("vcs_info", {}).get("commit_id"):
            return f"installed from version control, commit {commit}"
        if direct.get("dir_info", {}).get("editable"):
            return "an editable install"
        return "installed from a folder" if "dir_info" in direct else "installed from a file"
    except (ValueError, AttributeError):
        return "installed from somewhere that its direct_url.json does not tell"
