"""HTML as strictly as XML: every tag is closed in its turn, all rows of a table are equally long."""

from html.parser import HTMLParser


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attrs):
        assert {name for name, _ in attrs} <= {"style"}
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def whole_table(text: str) -> list[list[str]]:
    """Return the cells of a table, checked; nothing in it is loaded or run."""
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.tags <= {"table", "thead", "tbody", "tr", "td", "th", "p"}
    assert len({len(row) for row in page.rows}) == 1
    return page.rows
