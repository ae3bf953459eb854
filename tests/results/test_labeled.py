"""Results as tables with names and in a notebook, held against their own arrays."""

import base64
import html.parser
import io
import re

import diagnosis_records
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread
from result_records import RECORDS, norm_map, norm_profile, singular_spectrum

import lstmgrad as lg
from lstmgrad.plot._thumbnail import DRAWN

every_record = pytest.mark.parametrize("kind", RECORDS)


def batch_of(record):
    return jax.tree.map(lambda leaf: np.stack([leaf] * 3), record)


def axes_in(record):
    """The names of the axes of its first array."""
    return next(iter(type(record)._axes.arrays.values())).split()


@every_record
def test_a_data_set_holds_every_array_by_its_axes(kind):
    record = RECORDS[kind]()
    found = record.to_xarray()
    for field, axes in type(record)._axes.arrays.items():
        leaves = jax.tree.leaves(getattr(record, field))
        names = [name for name in found if re.fullmatch(rf"{field}(\..*)?", str(name))]
        assert len(names) == len(leaves)
        for name, leaf in zip(names, leaves, strict=True):
            assert found[name].dims == tuple(axes.split())
            np.testing.assert_array_equal(found[name].to_numpy(), leaf)
    for axis, what in type(record)._axes.ticks.items():
        first = what if isinstance(what, int) else getattr(record, what)[0]
        assert found[axis].to_numpy()[0] == first
    assert found.attrs["kind"] == type(record).__name__


@every_record
def test_a_data_frame_has_a_row_for_each_index(kind):
    record = RECORDS[kind]()
    found, known = record.to_dataframe(), record.to_xarray()
    axes = axes_in(record)
    assert found.attrs == known.attrs
    for name, column in found.items():
        np.testing.assert_array_equal(column.to_numpy(), known[name].to_numpy().reshape(-1))
    if axes:
        assert list(found.index.names) == axes
        expected = known[list(found.columns)].to_dataframe()
        # xarray's own way from the one to the other.
        assert (
            found.sort_index().equals(expected.reorder_levels(axes).sort_index()[found.columns])
            if len(axes) > 1
            else found.equals(expected[found.columns])
        )


@every_record
def test_a_batch_has_members(kind):
    record = RECORDS[kind]()
    whole, one = batch_of(record).to_xarray(), record.to_xarray()
    assert whole.sizes["member"] == 3
    for name in one.data_vars:
        assert whole[name].sel(member=1, drop=True).equals(one[name])
    frame = batch_of(record).to_dataframe()
    np.testing.assert_array_equal(frame.index.get_level_values("member").unique(), [0, 1, 2])
    if axes_in(record):
        assert frame.xs(2, level="member").equals(record.to_dataframe())


def test_what_one_asks_of_a_table():
    record = norm_profile()
    frame = record.to_dataframe()
    assert frame.loc[50, "log_norms"] == record.log_norms[50]
    assert not frame.loc[500, "resolved"]
    assert (frame.attrs["of"], frame.attrs["fixed"], frame.attrs["certified"]) == ("c", "end", 1)
    spectrum = singular_spectrum()
    found = spectrum.to_xarray()
    assert found.log_values.sel(lag=50, value=2) == spectrum.log_values[5, 1]
    pairs = norm_map().to_xarray().log_norms
    assert pairs.sel(t=16, k=4) == norm_map().log_norms[4, 1]


def test_members_of_two_axes_and_with_lags_of_their_own():
    record = norm_profile()
    two = jax.tree.map(lambda leaf: np.stack([np.stack([leaf] * 2)] * 3), record)
    assert dict(two.to_xarray().sizes) == {"member_0": 3, "member_1": 2, "lag": 501}
    lags = jnp.stack([record.lags, 2 * record.lags])
    pair = jax.tree.map(lambda leaf: np.stack([leaf] * 2), record)
    found = jax.tree.map(lambda leaf: leaf, pair, is_leaf=lambda leaf: leaf is None)
    object.__setattr__(found, "lags", lags)
    known = found.to_xarray()
    np.testing.assert_array_equal(known.lags.sel(member=1, lag=3), 6)


def test_traced_and_empty_results_have_no_table():
    empty = lg.ContributionMap(
        times=jnp.arange(0), steps=jnp.arange(0), log_norms=jnp.zeros((0, 0))
    )
    with pytest.raises(ValueError, match="expected numbers, but got a result that is traced or em"):
        empty.to_dataframe()
    with pytest.raises(ValueError, match="Make the table outside jit and vmap"):
        jax.jit(lambda record: record.to_xarray())(norm_profile())


class Tags(html.parser.HTMLParser):
    """Every tag is closed; what stands between them."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(text):
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    return tags


@every_record
def test_a_notebook_shows_line_table_and_picture(kind):
    record = RECORDS[kind]()
    found = parsed(record._repr_html_())
    line, *table = str(record).split("\n")
    assert found.text[0] == line
    assert sorted(" ".join(found.text[1:]).split()) == sorted(" ".join(table).split()) or (
        "…" in table[0]  # a printed table is cut to its width
    )
    assert len(found.images) == (type(record) in DRAWN)
    for image in found.images:
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        pixels = imread(io.BytesIO(data))
        assert pixels.shape[:2] == (480, 720)
        assert pixels[..., :3].min() < 0.5, "something is drawn"


def test_a_notebook_shows_what_it_can():
    record = norm_profile()
    seen = []
    jax.make_jaxpr(lambda inside: seen.append(inside._repr_html_()))(record)
    jax.eval_shape(lambda inside: seen.append(inside._repr_html_()), norm_map())
    assert all("<img" not in text and "<table" not in text for text in seen)
    several = parsed(batch_of(record)._repr_html_())
    assert several.text == [repr(batch_of(record))]
    assert len(several.images) == 1
    named = lg.SwapResponse(
        distances=jnp.ones((1, 3)), noise=jnp.zeros(3), at=0, of="<script>alert(1)</script>"
    )
    assert "<script>" not in named._repr_html_()


def test_importing_the_package_alone_shows_pictures():
    """The face hands over what draws; `plot` need not have been touched."""
    picture = lg.NormProfile._picture(norm_profile())
    assert picture is not None
    assert picture.startswith(b"\x89PNG")


def test_a_diagnosis_as_a_table():
    found = diagnosis_records.diagnosis()
    frame = found.to_dataframe()
    for finding in found:
        for name, entry in finding.evidence.items():
            row = frame.loc[(finding.rule, name)]
            assert (row["verdict"], row["unit"]) == (finding.verdict, entry.unit)
            np.testing.assert_equal((row["low"], row["high"]), entry.interval)
            np.testing.assert_equal(row["value"], entry.value)
    assert len(frame) == sum(len(finding.evidence) for finding in found)
    shown = parsed(found._repr_html_())
    assert shown.text[0] == repr(found)
    assert {finding.rule for finding in found} <= set(shown.text)


def test_a_verification_as_a_table():
    trials = tuple(
        lg.diagnosis.Trial(name, seed, 0.25, 0.25 + 0.5 * (name == "good"), ())
        for name in ("good", "idle")
        for seed in range(3)
    )
    found = lg.diagnosis.Verification(trials, "delayed_recall", 99, 350, 0.25, {})
    frame = found.to_dataframe()
    assert frame.loc[("good", 2), "gain"] == 0.5
    assert frame.groupby("remedy").gain.mean().to_dict() == {"good": 0.5, "idle": 0.0}
    shown = " ".join(parsed(found._repr_html_()).text)
    assert "good helps 0.5 ± 0" in shown
    assert "idle does not help 0 ± 0" in shown
