"""Word equations (OMML) as f-strings: plain text stands for itself, the functions set what is built up of parts."""


def word(value: str) -> str:
    """Return upright text, such as the name of a function."""
    return f'<m:r><m:rPr><m:nor/></m:rPr><m:t xml:space="preserve">{value}</m:t></m:r>'


def sub(base: str, index: str) -> str:
    """Write an index."""
    return f"<m:sSub><m:e>{base}</m:e><m:sub>{index}</m:sub></m:sSub>"


def sup(base: str, exponent: str) -> str:
    """Write an exponent."""
    return f"<m:sSup><m:e>{base}</m:e><m:sup>{exponent}</m:sup></m:sSup>"


def over(numerator: str, denominator: str) -> str:
    """Write a fraction."""
    return f"<m:f><m:num>{numerator}</m:num><m:den>{denominator}</m:den></m:f>"


def root(radicand: str) -> str:
    """Write a square root."""
    return f'<m:rad><m:radPr><m:degHide m:val="1"/></m:radPr><m:deg/><m:e>{radicand}</m:e></m:rad>'


def total(index: str, summand: str) -> str:
    """Write a sum over an index."""
    return (
        '<m:nary><m:naryPr><m:chr m:val="∑"/><m:limLoc m:val="undOvr"/><m:supHide m:val="1"/></m:naryPr>'
        f"<m:sub>{index}</m:sub><m:sup/><m:e>{summand}</m:e></m:nary>"
    )
