"""Read XML files of annotations."""

import xml.etree.ElementTree as ET

from detmake.errors import InputError


class _Builder(ET.TreeBuilder):
    """Refuses a document type: its entities could expand without end, and annotations need none."""

    def doctype(self, *_: object) -> None:
        raise ValueError("it has a DOCTYPE, which annotations do not need: remove it")


def parse(document: bytes, root: str, origin: str) -> ET.Element:
    """Return the root element of an XML document.

    Args:
        document: the content of a file.
        root: the tag that the root element must have.
        origin: the file, for messages.

    Raises:
        InputError: it is not XML, has a document type, or another root element.
    """
    try:
        element = ET.fromstring(document, parser=ET.XMLParser(target=_Builder()))
    except (ET.ParseError, LookupError, ValueError) as error:  # LookupError: of its encoding
        raise InputError(f"{origin}: not XML of annotations ({error}).") from error
    if element.tag != root:
        raise InputError(f"{origin}: found the element <{element.tag}>, expected <{root}>.")
    return element


def text_of(element: ET.Element, path: str) -> str:
    """Return the text of an element below this one. Raises ValueError if it is missing."""
    found = element.findtext(path)
    if found is None:
        raise ValueError(f"<{element.tag}> without {path}")
    return found.strip()
