"""A report of an incident: which causes, since when, what they look like, and the exact calls that retry them.

One file to hand round: a page without scripts or requests, a notebook, or Markdown. Commands and output are untrusted: masked and
escaped for where they stand.
"""

from __future__ import annotations

import contextlib
import os
import tempfile

from queuectl import place
from queuectl.errors import InvalidValue, QueuectlError, expected
from queuectl.incident._facts import Facts, gather

__all__ = ["Facts", "gather", "write"]

FORMS = (".html", ".ipynb", ".md")


def render(facts: Facts, form: str) -> str:
    """Return the report as text; `form` is one of `FORMS`."""
    if form == ".html":
        from queuectl.incident._page import page

        return page(facts)
    if form == ".ipynb":
        from queuectl.incident._notebook import notebook

        return notebook(facts)
    from queuectl.incident._markdown import document

    return document(facts)


def form_of(path: str) -> str:
    """Return which form a file name asks for.

    Raises:
        InvalidValue: none of ours.
    """
    form = os.path.splitext(path)[1].lower()
    if form not in FORMS:
        raise expected("path", "a file name that ends with .html, .ipynb or .md", path)
    return form


def write(facts: Facts, path: str, *, force: bool = False) -> None:
    """Write the report; the file appears whole or not at all.

    Args:
        facts: what happened.
        path: where to; its ending says the form.
        force: replace a file that is there.

    Raises:
        InvalidValue: the ending is none of ours, a file is there already, or it is one of the queue's own.
        QueuectlError: it cannot be written.
    """
    form = form_of(path)
    with contextlib.suppress(OSError):  # mostly there is none yet
        place.check_foreign(path)
    text = render(facts, form)
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, draft = tempfile.mkstemp(dir=folder, prefix=".report-")
        try:
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as f:
                f.write(text)
            if force:
                os.replace(draft, path)
            else:
                os.link(draft, path)  # fails where a file is, without a moment between look and write
        finally:
            if os.path.lexists(draft):
                os.unlink(draft)
    except FileExistsError:
        raise InvalidValue(f"path: {path} exists; name another file, or say --force to replace it") from None
    except OSError as e:
        raise QueuectlError(f"report: {path}: {e.strerror}") from e
