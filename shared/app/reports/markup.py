"""HTML that escapes by construction: whatever is not already `Html` is text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# control characters, lone surrogates and marks that turn the direction of the text around them
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
_VOID = frozenset({"meta", "br", "hr"})


class Html(str):
    """Markup that was built by this module (or is a constant of this program) and needs no escaping."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value as text, escaped; what could break a page or turn its reading direction becomes a replacement mark.

    >>> text('<a href="x">')
    '&lt;a href=&quot;x&quot;&gt;'
    """
    if isinstance(value, Html):
        return value
    return Html(html.escape(_UNSAFE.sub("\ufffd", str(value))))


def join(parts: Iterable[object]) -> Html:
    """Parts one after the other, each escaped unless it is markup."""
    return Html("".join(map(text, parts)))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element; an attribute's trailing underscore is dropped, other underscores become hyphens, None leaves it out.

    >>> tag("p", "1 < 2", class_="note", hidden=None)
    '<p class="note">1 &lt; 2</p>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def foreign(value: object) -> Html:
    """A name that came from outside: isolated, so that right-to-left letters do not reorder what stands around."""
    return tag("bdi", value, class_="id")


def shorten(value: str, longest: int = 80) -> str:
    """At most `longest` characters, the middle left out."""
    if len(value) <= longest:
        return value
    keep = longest - 1
    return f"{value[: keep - keep // 3]}…{value[-(keep // 3) :]}"
