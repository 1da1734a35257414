"""Word equations (OMML), built up from their parts; plain text stands for itself."""

from __future__ import annotations

from xml.sax.saxutils import escape


def text(value: str) -> str:
    """Return a run of mathematics, or the part itself if it is one already."""
    return value if value.startswith("<m:") else f'<m:r><m:t xml:space="preserve">{escape(value)}</m:t></m:r>'


def word(value: str) -> str:
    """Return upright text, such as the name of a function."""
    return f'<m:r><m:rPr><m:nor/></m:rPr><m:t xml:space="preserve">{escape(value)}</m:t></m:r>'


def row(*parts: str) -> str:
    """Set parts side by side."""
    return "".join(text(part) for part in parts)


def sub(base: str, index: str) -> str:
    """Write an index."""
    return f"<m:sSub><m:e>{text(base)}</m:e><m:sub>{text(index)}</m:sub></m:sSub>"


def sup(base: str, exponent: str) -> str:
    """Write an exponent."""
    return f"<m:sSup><m:e>{text(base)}</m:e><m:sup>{text(exponent)}</m:sup></m:sSup>"


def over(numerator: str, denominator: str) -> str:
    """Write a fraction."""
    return f"<m:f><m:num>{text(numerator)}</m:num><m:den>{text(denominator)}</m:den></m:f>"


def root(radicand: str) -> str:
    """Write a square root."""
    return f'<m:rad><m:radPr><m:degHide m:val="1"/></m:radPr><m:deg/><m:e>{text(radicand)}</m:e></m:rad>'


def total(index: str, summand: str) -> str:
    """Write a sum over an index."""
    return (
        '<m:nary><m:naryPr><m:chr m:val="∑"/><m:limLoc m:val="undOvr"/><m:supHide m:val="1"/></m:naryPr>'
        f"<m:sub>{text(index)}</m:sub><m:sup/><m:e>{text(summand)}</m:e></m:nary>"
    )
