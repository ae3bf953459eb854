"""The page: one file without script and network, whole, escaped, the same bytes each time."""

import html.parser
import json
import math
import sys

import diagnosis_records as records
import pytest

import lstmgrad as lg

FOUND = records.mixed()
FIGURES = lg.plot.diagnosis(FOUND)
ABOUT = {"Weights": "model.safetensors", "Seed": "7"}
PAGE = lg.report.page(FOUND, FIGURES, title="A <page>", about=ABOUT)

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(html.parser.HTMLParser):
    """The elements of a page, its text, and whether every tag is closed where it should be."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        elif tag == "br":
            self.texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag not in {"sup", "code", "span", "a"}:
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


READ = Reader(PAGE.decode())


def test_it_is_one_file_without_script_and_network():
    assert not READ.of("script")
    assert not READ.of("link")
    assert not any(name.startswith("on") for _, given in READ.elements for name in given)
    for attributes in READ.of("img"):
        assert (attributes["src"] or "").startswith("data:image/svg+xml;base64,")
    style = PAGE.decode().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    assert READ.of("html")[0]["lang"] == "en"


def test_links_lead_somewhere_and_ids_are_unique():
    ids = [given["id"] for _, given in READ.elements if "id" in given]
    assert len(ids) == len(set(ids)) == len(FOUND)
    targets = [(given["href"] or "").removeprefix("#") for given in READ.of("a")]
    assert targets == ["forget-gates"]


def test_findings_come_in_order_each_with_all_that_it_has():
    marks = ("Severe", "Severe", "Mild", "Good news", "Open", "growth")
    marked = zip(marks, FOUND, strict=True)
    places = [READ.text.index(f"{mark} The title of {finding.rule}") for mark, finding in marked]
    assert places == sorted(places)
    for wanted in (
        "10−30.4",  # ln -70 as a power of ten
        "10−31.3 to 10−29.5",
        "trouble below 10−6.91: the rounding",
        "2.5 to 3.5",
        "not resolved",
        "a number <b>in</b> doubt",
        "state['bias_ih_l0'][2:4] = 2.45 # < forget",
        "10−1.3 10−1.74 to 0.135",
        "a formula (an author 2018)",
        "It keeps 10−51.8 over 8 steps.",
    ):
        assert wanted in READ.text, wanted
    assert READ.text.count("What helps") == 4  # of five that are shown, one has no remedy
    assert [given["alt"] for given in READ.of("img")] == [
        FIGURES[f.rule].alt for f in FOUND if f.rule in FIGURES
    ]


def test_the_first_sentence_says_what_was_found():
    def lead(diagnosis):
        text = Reader(lg.report.page(diagnosis).decode()).text
        return text.split("Where the gradient goes ")[-1].split(" Found ")[0].split(" Open ")[0]

    assert "A <page> The title of forget-gates <&>. 2 more findings below." in READ.text
    pick = {finding.rule: finding for finding in FOUND}

    def only(*rules):
        return lg.diagnosis.Diagnosis(tuple(pick[rule] for rule in rules), FOUND.settings, None)

    assert lead(only("clip")) == "Nothing severe was found. The title of clip <&>."
    nothing = "Nothing was found to be wrong."
    assert lead(only("memory-is-fine")) == f"{nothing} The title of memory-is-fine <&>."
    assert lead(only("growth")).startswith(f"{nothing} In order")


def test_settings_inputs_and_versions_stand_at_the_end():
    end = READ.text.split("How it was measured")[1]
    for wanted in (
        "Weights model.safetensors",
        "Seed 7",
        "Lag 8 steps",
        "Clipping norm 0.5",
        "Truncation 4 steps",
        "State h (2), c (2)",
        "jax 0.10.2",
    ):
        assert wanted in " ".join(end.split()), wanted


def test_the_same_diagnosis_gives_the_same_bytes():
    again = lg.plot.diagnosis(records.mixed())
    assert lg.report.page(FOUND, again, title="A <page>", about=ABOUT) == PAGE


def test_the_twin_holds_the_same_numbers():
    def refuse(word):
        pytest.fail(f"{word} is not JSON")

    twin = json.loads(lg.report.json(FOUND, about=ABOUT), parse_constant=refuse)
    assert twin["about"] == ABOUT
    assert [entry["rule"] for entry in twin["findings"]] == [finding.rule for finding in FOUND]
    first = twin["findings"][0]
    assert first["evidence"]["log_share"]["value"] == -70.0
    assert first["evidence"]["unknown"]["value"] == "nan"
    assert first["evidence"]["unknown"]["error"] == "inf"
    assert first["remedies"][0]["predicted"][0]["low"] == -4.0
    assert math.isclose(twin["settings"]["clip"], 0.5)


def test_without_jinja_it_says_what_to_install(monkeypatch):
    from lstmgrad.report import _page

    _page._template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"jinja2 is not installed; the extra report.*\[report\]"):
        lg.report.page(FOUND)


def test_refusals(as_installed):
    with pytest.raises(ValueError, match="diagnosis: expected an lstmgrad Diagnosis, but got int"):
        lg.report.page(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="diagnosis: expected an lstmgrad Diagnosis, but got int"):
        lg.report.json(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"figures: expected figures for the rules .*'chaos'"):
        lg.report.page(FOUND, {"chaos": next(iter(FIGURES.values()))})
