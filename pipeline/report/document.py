"""A Word document: headings, contents, tables, figures, equations and references, by python-docx.

In texts ``**bold**`` and ```code``` are marked so, and ``[[name]]`` refers to the figure, table or heading of that
name: a live field that reads "Figure 3", "Table 2" or, for a heading, its label; ``[[name:page]]`` gives its page.
"""

import io
import re
import zipfile
from collections.abc import Collection, Sequence
from typing import Any

import docx
import pandas as pd
from docx.enum.style import WD_STYLE_TYPE
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH, WD_TAB_ALIGNMENT, WD_TAB_LEADER
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.shared import Cm, Pt, RGBColor

INK, GREY = RGBColor(0x1F, 0x2A, 0x44), RGBColor(0x76, 0x76, 0x76)
FONT = "Calibri"
PROJECT, LANGUAGE = "mnist-from-scratch", "en-GB"
TEXT_WIDTH = 16.0  # cm between the margins
LONG_TABLE = 24  # rows from which a table may be divided between pages
ROWS_TOGETHER = 3  # at the start and the end of a divided table
CELL_MARGIN = 4.5  # points at the left and the right of a cell
DIGIT_WIDTH, NARROW_WIDTH = 0.507, 0.27  # of Calibri's digits and signs, and of its other marks, in font sizes
NUMBER = re.compile(r"(?:[-+−]?[\d,]+((?:\.\d+)?(?: ± [\d,.]+| \[[-+−\d,. ]+\])?))?")  # what follows its whole part
CONTENTS_STYLE, TABLE_TEXT = "toc 1", "No Spacing"  # styles that Word has
PLAIN_TEXT = re.compile(r'(?<=>)(?<!preserve">)[^<]+')  # of an equation: between tags, and in no run yet
REFERENCE = re.compile(r"\[\[(\w*)(:page)?\]\]")
MARKS = re.compile(r"(\[\[[\w:]*\]\]|`|\*\*)")
# By style the size in points, and the space before and after.
TEXTS = {"Normal": (10, 0, 6), "List Bullet": (10, 0, 4), CONTENTS_STYLE: (9, 0, 0), TABLE_TEXT: (8.5, 0, 0)}
TITLES = {"Title": (22, 0, 2), "Subtitle": (12, 0, 10), "Heading 1": (15, 18, 6), "Heading 2": (12, 12, 4)}
TITLES |= {"Caption": (9, 4, 10)}
APPLICATION = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/extended-properties">\
<Application>python-docx</Application></Properties>"""


class Document:
    """An A4 document with numbered captions; ``footer`` stands before the number of every page."""

    def __init__(self, title: str, subtitle: str, *, footer: str = "") -> None:
        self._docx: Any = docx.Document()
        self._contents: Any = None
        self._page: int | None = 1  # as the page breaks say; a page that runs over is counted by the word processor
        self._headings: dict[str, str] = {}  # name by text of those in the contents
        self._targets: dict[str, dict[str, str]] = {}  # by name what each kind of field shows
        self._references: list[tuple[str, str, Any]] = []  # name, kind of field, and the run that shows its result
        self._drop_template_parts()
        self._lay_out(footer)
        properties = self._docx.core_properties
        properties.title, properties.subject, properties.comments = title, subtitle[:255], ""
        properties.author, properties.last_modified_by, properties.language = PROJECT, PROJECT, LANGUAGE
        for date in ("dcterms:created", "dcterms:modified"):  # of the template
            properties._element.remove(properties._element.find(qn(date)))
        self._docx.add_paragraph(title, style="Title")
        self._docx.add_paragraph(subtitle, style="Subtitle")

    def heading(self, text: str, level: int = 1, *, label: str = "", name: str = "", new_page: bool = False) -> None:
        """Add a heading, perhaps behind a ``label`` such as "4" or "Appendix A"; it can begin a page.

        Level 1 enters the contents and needs a ``name``.
        """
        paragraph = self._docx.add_heading(label, level)
        paragraph.paragraph_format.page_break_before = new_page or None
        self._page = self._page and self._page + new_page
        gap = " " if label[-1:].isdigit() else ". " if label else ""
        paragraph.add_run(f"{gap}{text}")
        if level == 1:
            self._headings[paragraph.text] = name
        if name:
            self._name(name, label or text, paragraph.runs[:1])

    def paragraph(self, text: str, *, style: str = "Normal", keep_with_next: bool = False) -> Any:
        """Add a paragraph and return it; it can be kept on the page of what follows."""
        paragraph = self._docx.add_paragraph(style=style)
        self._add_marked(paragraph, text)
        paragraph.paragraph_format.keep_with_next = keep_with_next or None
        return paragraph

    def stop_counting(self) -> None:
        """Leave the pages from here on to the word processor: a long table came before, of unknown height."""
        self._page = None

    def contents(self) -> None:
        """Reserve the place of the table of contents."""
        self._contents = self._docx.add_paragraph()  # behind the entries, too low to begin a page
        self._contents.paragraph_format.space_after, self._contents.paragraph_format.line_spacing = Pt(0), Pt(1)

    def figure(self, png: bytes, caption: str, shown: str, *, name: str) -> None:
        """Add a picture with a numbered caption below; who cannot see it reads the caption and what is ``shown``."""
        picture = self._docx.add_picture(io.BytesIO(png), width=Cm(TEXT_WIDTH))
        layout = self._docx.paragraphs[-1].paragraph_format
        layout.alignment, layout.keep_with_next, layout.space_after = WD_ALIGN_PARAGRAPH.CENTER, True, Pt(0)
        for side in ("distT", "distB", "distL", "distR"):  # without them LibreOffice adds 3 mm and moves the picture
            picture._inline.set(side, "0")
        picture._inline.docPr.set("descr", f"{caption} {shown}".strip())
        picture._inline.docPr.set("name", f"Figure {len(self._docx.inline_shapes)}")
        self._caption("Figure", len(self._docx.inline_shapes), caption, name)

    def table(
        self, texts: pd.DataFrame, caption: str, *, name: str, widths: Sequence[float] = (), grey: Collection[int] = ()
    ) -> None:
        """Add a table with a numbered caption above; its header row is repeated on every page, and widths are in cm.

        Columns of numbers are aligned at the decimal point. Some rows can be ``grey``.
        """
        self._caption("Table", 1 + len(self._docx.tables), caption, name)
        widths = widths or [TEXT_WIDTH / len(texts.columns)] * len(texts.columns)
        last = len(texts)
        apart = range(ROWS_TOGETHER, last - ROWS_TOGETHER + 1) if last >= LONG_TABLE else ()
        table = self._docx.add_table(rows=1 + last, cols=len(widths))
        table.style, table.alignment, table.autofit = "Report Table", WD_TABLE_ALIGNMENT.CENTER, False
        for column, (title, of_column), width in zip(table.columns, texts.items(), widths, strict=True):
            column.width = Cm(width)
            tab = _decimal_tab(of_column, width)
            for index, (cell, text) in enumerate(zip(column.cells, [title, *of_column], strict=True)):
                cell.width = Cm(width)
                paragraph = cell.paragraphs[0]
                paragraph.style = TABLE_TEXT
                paragraph.paragraph_format.keep_with_next = index < last and index not in apart
                self._add_marked(paragraph, f"**{text}**" if index == 0 and text else text)
                if index - 1 in grey:
                    for run in paragraph.runs:
                        run.font.color.rgb = GREY
                if tab and not index:
                    paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
                elif tab and text:  # a word processor aligns a cell's number at a decimal tab stop by itself
                    paragraph.paragraph_format.tab_stops.add_tab_stop(tab, WD_TAB_ALIGNMENT.DECIMAL)
        for row in table.rows:
            row._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
        table.rows[0]._tr.trPr.append(OxmlElement("w:tblHeader"))
        gap = self._docx.add_paragraph().paragraph_format
        gap.space_after, gap.line_spacing = Pt(7), Pt(1)  # so low that behind a full page it makes no blank one

    def equation(self, formula: str, *, keep_with_next: bool = False) -> None:
        """Add an equation on a line of its own; see :mod:`pipeline.report.equations`."""
        xml = f"<m:oMathPara {nsdecls('m', 'w')}><m:oMath>{formula}</m:oMath></m:oMathPara>"
        in_runs = PLAIN_TEXT.sub(r'<m:r><m:t xml:space="preserve">\g<0></m:t></m:r>', xml)
        self.paragraph("", keep_with_next=keep_with_next)._p.append(parse_xml(in_runs))

    def to_bytes(self) -> bytes:
        """Return the file; the same document gives the same bytes."""
        self._fill_contents()
        for name, kind, result in self._references:
            if name not in self._targets:
                raise ValueError(f"the text refers to [[{name}]], and nothing has that name")
            result.text = self._targets[name][kind]
        written, packed = io.BytesIO(), io.BytesIO()
        self._docx.save(written)
        with zipfile.ZipFile(written) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():  # a ZipInfo has a fixed date
                target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
        return packed.getvalue()

    def _caption(self, kind: str, number: int, text: str, name: str) -> None:
        paragraph = self._docx.add_paragraph(style="Caption")
        paragraph.paragraph_format.keep_with_next = kind == "Table"  # its caption stands above it
        paragraph.add_run(f"{kind} ")
        _add_field(paragraph, f"SEQ {kind} \\* ARABIC", str(number))
        self._name(name, f"{kind} {number}", paragraph.runs)
        self._add_marked(paragraph, f". {text}")

    def _name(self, name: str, text: str, runs: Sequence[Any]) -> None:
        """Give runs a name to which references refer, by a bookmark around them."""
        if name in self._targets:
            raise ValueError(f"two things are named {name}")
        number = {qn("w:id"): str(len(self._targets))}
        self._targets[name] = {"REF": text, "PAGEREF": str(self._page or "")}
        runs[0]._r.addprevious(OxmlElement("w:bookmarkStart", {**number, qn("w:name"): f"_{name}"}))
        runs[-1]._r.addnext(OxmlElement("w:bookmarkEnd", number))

    def _add_marked(self, paragraph: Any, text: str) -> None:
        is_code = is_bold = False
        for part in filter(None, MARKS.split(text)):
            if part == "`":
                is_code = not is_code
            elif part == "**" and not is_code:
                is_bold = not is_bold
            elif reference := REFERENCE.fullmatch(part):  # to be filled in when everything has its number
                name, kind = reference[1], "PAGEREF" if reference[2] else "REF"
                self._references.append((name, kind, _add_field(paragraph, f"{kind} _{name} \\h")))
                for run in paragraph.runs[-5:]:  # of the field; word processors take the look of the first or the last
                    run.bold = is_bold or None
            else:
                run = paragraph.add_run(part)
                run.bold = is_bold or None
                if is_code:
                    run.font.name, run.font.size = "Consolas", paragraph.style.font.size - Pt(1)

    def _drop_template_parts(self) -> None:
        """Remove parts of python-docx's template: its picture, Word 2010's copy of the styles, its author."""
        package = self._docx.part.package
        for relations, kind in ((package.rels, "/thumbnail"), (self._docx.part.rels, "/stylesWithEffects")):
            for name in [name for name, relation in relations.items() if relation.reltype.endswith(kind)]:
                del relations[name]
        next(part for part in package.iter_parts() if part.partname == "/docProps/app.xml")._blob = APPLICATION.encode()

    def _lay_out(self, footer: str) -> None:
        section = self._docx.sections[0]
        section.page_width, section.page_height = Cm(21), Cm(29.7)
        section.left_margin = section.right_margin = (section.page_width - Cm(TEXT_WIDTH)) // 2
        section.top_margin, section.bottom_margin = Cm(2.2), Cm(2.2)
        self._docx.settings.element.find(qn("w:zoom")).set(qn("w:percent"), "100")  # python-docx lacks it; required
        styles = self._docx.styles
        for fonts in styles.element.iter(qn("w:rFonts")):  # which the template takes from its theme
            fonts.attrib.clear()
            fonts.attrib.update(dict.fromkeys(map(qn, ("w:ascii", "w:hAnsi", "w:eastAsia")), FONT))
        contents = styles.add_style(CONTENTS_STYLE, WD_STYLE_TYPE.PARAGRAPH, builtin=True)
        contents.base_style = styles["Normal"]
        contents.paragraph_format.tab_stops.add_tab_stop(Cm(TEXT_WIDTH), WD_TAB_ALIGNMENT.RIGHT, WD_TAB_LEADER.DOTS)
        for name, (size, before, after) in (TEXTS | TITLES).items():
            style = styles[name]
            style.font.size = Pt(size)
            style.paragraph_format.space_before, style.paragraph_format.space_after = Pt(before), Pt(after)
            if name in TITLES:
                style.font.color.rgb, style.font.italic = INK, False
        styles["Normal"].paragraph_format.line_spacing = 1.1
        styles["Caption"].font.bold = False
        styles.element.append(parse_xml(TABLE_STYLE))
        next(styles.element.iter(qn("w:lang"))).set(qn("w:val"), LANGUAGE)
        foot = section.footer.paragraphs[0]
        foot.alignment = WD_ALIGN_PARAGRAPH.CENTER
        foot.add_run(f"{footer} \N{MIDDLE DOT} ")
        _add_field(foot, "PAGE", "1")

    def _fill_contents(self) -> None:
        """Write the table of contents: an entry per heading, a link with a field for its page."""
        for text, name in self._headings.items() if self._contents else ():
            paragraph = self._contents.insert_paragraph_before(f"{text}\t", style=CONTENTS_STYLE)
            self._add_marked(paragraph, f"[[{name}:page]]")
            link = OxmlElement("w:hyperlink", {qn("w:anchor"): f"_{name}"})
            link.extend(paragraph._p.r_lst)
            paragraph._p.append(link)


TABLE_STYLE = f"""
<w:style {nsdecls("w")} w:type="table" w:customStyle="1" w:styleId="ReportTable">
  <w:name w:val="Report Table"/><w:basedOn w:val="TableNormal"/><w:uiPriority w:val="99"/>
  <w:tblPr>
    <w:tblBorders><w:top w:val="single" w:sz="8" w:color="1F2A44"/><w:bottom w:val="single" w:sz="8" w:color="1F2A44"/>
      <w:insideH w:val="single" w:sz="4" w:color="DDDDDD"/></w:tblBorders>
    <w:tblCellMar><w:top w:w="30" w:type="dxa"/><w:left w:w="{20 * CELL_MARGIN:.0f}" w:type="dxa"/>
      <w:bottom w:w="30" w:type="dxa"/><w:right w:w="{20 * CELL_MARGIN:.0f}" w:type="dxa"/></w:tblCellMar>
  </w:tblPr>
  <w:tblStylePr w:type="firstRow">
    <w:tcPr><w:tcBorders><w:bottom w:val="single" w:sz="6" w:color="1F2A44"/></w:tcBorders>
      <w:shd w:val="clear" w:color="auto" w:fill="EEF1F6"/></w:tcPr>
  </w:tblStylePr>
</w:style>"""


def _decimal_tab(texts: pd.Series, width: float) -> Any:
    """Return the place of a column's decimal point, so that the longest number ends at the right; None for words."""
    numbers = [NUMBER.fullmatch(text) for text in texts]
    if not all(numbers):
        return None
    behind = [number[1] or "" for number in numbers if number]
    widths = [sum(NARROW_WIDTH if letter in ",.[] " else DIGIT_WIDTH for letter in each) for each in behind]
    return Cm(width) - Pt(2 * CELL_MARGIN) - Pt(TEXTS[TABLE_TEXT][0] * max(widths, default=0))


def _add_field(paragraph: Any, instruction: str, result: str = "") -> Any:
    """Add a field; return the run of its result."""
    mark = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'.format
    code = f'<w:r><w:instrText xml:space="preserve"> {instruction} </w:instrText></w:r>'
    shown = f"<w:r><w:t>{result}</w:t></w:r>"
    runs = f"<w:p {nsdecls('w')}>{mark('begin')}{code}{mark('separate')}{shown}{mark('end')}</w:p>"
    paragraph._p.extend(parse_xml(runs))
    return paragraph.runs[-2]
