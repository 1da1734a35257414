"""What a Word document is made of: numbered headings, captions, tables, figures and equations.

python-docx writes the file; this module adds what it has no call for, and nothing about networks.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import docx
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.shared import Cm, Pt, RGBColor

EPOCH = datetime.datetime(1980, 1, 1, tzinfo=datetime.UTC)  # the first date that a zip archive can hold
INK = RGBColor(0x1F, 0x2A, 0x44)
FONT = "Calibri"
LONG_TABLE = 14  # rows from which a table may be divided between pages
NUMERIC = set("0123456789.,+-−±–%[] ∞")


class Document:
    """An A4 document with numbered headings, captions, page numbers and a table of contents.

    Parameters
    ----------
    title, subtitle : str
    """

    def __init__(self, title: str, subtitle: str) -> None:
        self._docx: Any = docx.Document()
        self._counts = {"Figure": 0, "Table": 0}
        self._headings: list[tuple[int, str, str]] = []
        self._sections = [0, 0]
        self._contents: Any = None
        self._drop_thumbnail()
        self._lay_out()
        properties = self._docx.core_properties
        properties.title, properties.subject = title, subtitle
        properties.author = properties.last_modified_by = properties.comments = ""
        properties.created = properties.modified = EPOCH
        self._docx.add_paragraph(title, style="Title")
        self._docx.add_paragraph(subtitle, style="Subtitle")

    def heading(self, text: str, level: int = 1) -> None:
        """Add a heading; it numbers itself and enters the table of contents."""
        paragraph = self._docx.add_heading(text, level)
        self._sections = [*self._sections[: level - 1], self._sections[level - 1] + 1, 0][:2]
        number = ".".join(str(count) for count in self._sections[:level])
        bookmark = f"_Toc{len(self._headings):06d}"
        self._headings.append((level, f"{number}  {text}", bookmark))
        start, end = OxmlElement("w:bookmarkStart"), OxmlElement("w:bookmarkEnd")
        for element in (start, end):
            element.set(qn("w:id"), str(len(self._headings)))
        start.set(qn("w:name"), bookmark)
        paragraph._p.insert(1, start)
        paragraph._p.append(end)

    def paragraph(self, text: str, *, style: str = "Normal") -> None:
        """Add a paragraph; ``**bold**`` and ```code``` are marked so."""
        _add_marked(self._docx.add_paragraph(style=style), text)

    def bullets(self, texts: Sequence[str]) -> None:
        """Add a bulleted list."""
        for text in texts:
            self.paragraph(text, style="List Bullet")

    def contents(self) -> None:
        """Reserve the place of the table of contents."""
        self._contents = self._docx.add_paragraph()

    def page_break(self) -> None:
        """Begin a new page."""
        self._docx.add_page_break()

    def figure(self, png: bytes, caption: str, alternative: str, *, width: float = 16.0) -> None:
        """Add a picture, ``width`` cm wide, with a numbered caption below and a text for those who cannot see it."""
        picture = self._docx.add_picture(io.BytesIO(png), width=Cm(width))
        paragraph = self._docx.paragraphs[-1]
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
        paragraph.paragraph_format.keep_with_next = True
        described = picture._inline.docPr
        described.set("descr", alternative)
        described.set("name", f"Figure {self._counts['Figure'] + 1}")
        self._caption("Figure", caption)

    def table(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        caption: str,
        *,
        size: float = 9,
        widths: Sequence[float] | None = None,
    ) -> None:
        """Add a table with a numbered caption above; its header row is repeated on every page.

        Columns of numbers are aligned to the right, so that equal decimals stand below each other.
        """
        self._caption("Table", caption)
        self._docx.paragraphs[-1].paragraph_format.keep_with_next = True
        table = self._docx.add_table(rows=0, cols=len(header))
        table.style = "Report Table"
        table.alignment = WD_TABLE_ALIGNMENT.CENTER
        if widths:
            table.autofit = False
            for column, width in zip(table.columns, widths, strict=True):
                column.width = Cm(width)
        numeric = [all(set(row[column]) <= NUMERIC for row in rows) for column in range(len(header))]
        for index, row in enumerate([header, *rows]):
            cells = table.add_row().cells
            for column, (cell, text) in enumerate(zip(cells, row, strict=True)):
                paragraph = cell.paragraphs[0]
                _add_marked(paragraph, f"**{text}**" if index == 0 and text else text or " ")
                paragraph.paragraph_format.space_after = Pt(0)
                paragraph.paragraph_format.line_spacing = 1.0
                paragraph.paragraph_format.keep_with_next = index < (len(rows) if len(rows) < LONG_TABLE else 3)
                if numeric[column]:
                    paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
                for run in paragraph.runs:
                    run.font.size = Pt(size)
                if widths:
                    cell.width = Cm(widths[column])
            properties = table.rows[-1]._tr.get_or_add_trPr()
            properties.append(OxmlElement("w:cantSplit"))
            if index == 0:
                properties.append(OxmlElement("w:tblHeader"))
        self._docx.add_paragraph().paragraph_format.space_after = Pt(2)

    def equation(self, omml: str) -> None:
        """Add a displayed equation; see :mod:`pipeline.equations`."""
        paragraph = self._docx.add_paragraph()
        paragraph._p.append(parse_xml(f"<m:oMathPara {nsdecls('m', 'w')}><m:oMath>{omml}</m:oMath></m:oMathPara>"))

    def next_number(self, kind: str) -> int:
        """Return the number that the next ``"Figure"`` or ``"Table"`` will get."""
        return self._counts[kind] + 1

    def to_bytes(self) -> bytes:
        """Return the file; the same document gives the same bytes."""
        self._fill_contents()
        written = io.BytesIO()
        self._docx.save(written)
        packed = io.BytesIO()
        with zipfile.ZipFile(written) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
        return packed.getvalue()

    def _caption(self, kind: str, text: str) -> None:
        self._counts[kind] += 1
        paragraph = self._docx.add_paragraph(style="Caption")
        paragraph.add_run(f"{kind} ")
        _add_field(paragraph, f"SEQ {kind} \\* ARABIC", str(self._counts[kind]))
        _add_marked(paragraph, f". {text}")

    def _drop_thumbnail(self) -> None:
        """Forget the picture of python-docx's own template."""
        relations = self._docx.part.package.rels
        for name in [name for name, relation in relations.items() if relation.reltype.endswith("/thumbnail")]:
            del relations[name]

    def _lay_out(self) -> None:
        section = self._docx.sections[0]
        section.page_width, section.page_height = Cm(21), Cm(29.7)
        section.left_margin = section.right_margin = Cm(2.5)
        section.top_margin, section.bottom_margin = Cm(2.2), Cm(2.2)
        styles = self._docx.styles
        for name, size, before, after in (
            ("Normal", 10.5, 0, 6),
            ("Title", 22, 0, 2),
            ("Subtitle", 12, 0, 10),
            ("Heading 1", 15, 18, 6),
            ("Heading 2", 12, 12, 4),
            ("Caption", 9, 4, 10),
            ("List Bullet", 10.5, 0, 4),
        ):
            style = styles[name]
            style.font.name, style.font.size = FONT, Pt(size)
            style.element.rPr.rFonts.set(qn("w:eastAsia"), FONT)
            for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
                style.element.rPr.rFonts.attrib.pop(qn(f"w:{theme}"), None)
            style.paragraph_format.space_before, style.paragraph_format.space_after = Pt(before), Pt(after)
            if name not in ("Normal", "List Bullet"):
                style.font.color.rgb = INK
                style.font.italic = False
        styles["Normal"].paragraph_format.line_spacing = 1.1
        styles["Caption"].font.bold = False
        styles.element.append(parse_xml(TABLE_STYLE))
        self._number_headings()
        footer = section.footer.paragraphs[0]
        footer.alignment = WD_ALIGN_PARAGRAPH.CENTER
        _add_field(footer, "PAGE", "1")

    def _number_headings(self) -> None:
        """Let Word number the headings: 1, 1.1, 1.2, 2."""
        numbering = self._docx.part.numbering_part.element
        levels = "".join(
            f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/><w:numFmt w:val="decimal"/>'
            f'<w:pStyle w:val="Heading{level + 1}"/><w:suff w:val="space"/><w:lvlText w:val="{text} "/>'
            '<w:lvlJc w:val="left"/><w:pPr><w:ind w:left="0" w:firstLine="0"/></w:pPr></w:lvl>'
            for level, text in enumerate(("%1", "%1.%2"))
        )
        abstract = parse_xml(
            f'<w:abstractNum {nsdecls("w")} w:abstractNumId="90">'
            f'<w:multiLevelType w:val="multilevel"/>{levels}</w:abstractNum>'
        )
        numbering.insert(0, abstract)  # the schema wants all abstractNum before the first num
        numbering.append(parse_xml(f'<w:num {nsdecls("w")} w:numId="90"><w:abstractNumId w:val="90"/></w:num>'))
        for level in (1, 2):
            properties = self._docx.styles[f"Heading {level}"].element.get_or_add_pPr()
            properties.get_or_add_numPr().get_or_add_numId().val = 90
            properties.numPr.get_or_add_ilvl().val = level - 1

    def _fill_contents(self) -> None:
        """Write the table of contents as a field that holds its entries already."""
        if self._contents is None:
            return
        place = self._contents
        last = len(self._headings) - 1
        for index, (level, text, bookmark) in enumerate(self._headings):
            paragraph = place.insert_paragraph_before()
            paragraph.paragraph_format.left_indent = Cm(0.7 * (level - 1))
            paragraph.paragraph_format.space_after = Pt(1)
            if index == 0:
                _add_field_part(paragraph, "begin")
                _add_instruction(paragraph, 'TOC \\o "1-2" \\n \\h \\z')
                _add_field_part(paragraph, "separate")
            link = OxmlElement("w:hyperlink")
            link.set(qn("w:anchor"), bookmark)
            link.append(paragraph.add_run(text)._r)
            paragraph._p.append(link)
            if index == last:
                _add_field_part(paragraph, "end")
        self._contents = None


TABLE_STYLE = f"""
<w:style {nsdecls("w")} w:type="table" w:customStyle="1" w:styleId="ReportTable">
  <w:name w:val="Report Table"/><w:basedOn w:val="TableNormal"/><w:uiPriority w:val="99"/>
  <w:tblPr>
    <w:tblBorders>
      <w:top w:val="single" w:sz="8" w:color="1F2A44"/>
      <w:bottom w:val="single" w:sz="8" w:color="1F2A44"/>
      <w:insideH w:val="single" w:sz="4" w:color="DDDDDD"/>
    </w:tblBorders>
    <w:tblCellMar><w:top w:w="30" w:type="dxa"/><w:left w:w="90" w:type="dxa"/>
      <w:bottom w:w="30" w:type="dxa"/><w:right w:w="90" w:type="dxa"/></w:tblCellMar>
  </w:tblPr>
  <w:tblStylePr w:type="firstRow">
    <w:tcPr><w:tcBorders><w:bottom w:val="single" w:sz="6" w:color="1F2A44"/></w:tcBorders>
      <w:shd w:val="clear" w:color="auto" w:fill="EEF1F6"/></w:tcPr>
  </w:tblStylePr>
</w:style>"""


def _add_marked(paragraph: Any, text: str) -> None:
    for index, bold in enumerate(text.split("**")):
        for place, code in enumerate(bold.split("`")):
            if code:
                run = paragraph.add_run(code)
                run.bold = True if index % 2 else None
                if place % 2:
                    run.font.name = "Consolas"


def _add_field(paragraph: Any, instruction: str, result: str) -> None:
    _add_field_part(paragraph, "begin")
    _add_instruction(paragraph, instruction)
    _add_field_part(paragraph, "separate")
    paragraph.add_run(result)
    _add_field_part(paragraph, "end")


def _add_field_part(paragraph: Any, part: str) -> None:
    character = OxmlElement("w:fldChar")
    character.set(qn("w:fldCharType"), part)
    paragraph.add_run()._r.append(character)


def _add_instruction(paragraph: Any, instruction: str) -> None:
    element = OxmlElement("w:instrText")
    element.set(qn("xml:space"), "preserve")
    element.text = f" {instruction} "
    paragraph.add_run()._r.append(element)
