"""Colours that carry meaning are told apart with any colour vision, and what is written on them can be read.

Dichromats' vision by the matrices of Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB. Distances are
CIE76 in CIELAB, where 2.3 is just noticeable; contrast is WCAG's, whose least for text is 4.5.
"""

import itertools
import re

import numpy as np
import pytest

from spancredit.report.figures import PALETTE
from spancredit.report.html import PAGE
from spancredit.report.terminal import EVEN, LESS, MORE, colour, legend
from spancredit.study import figures

VISION = {
    "trichromat": np.eye(3),
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanope": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanope": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], LUMINANCE, [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(1)
READABLE, TOLD_APART, IN_GREY = 4.5, 15, 10


def linear(rgb):
    c = np.array(rgb) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(light):
    ratio = TO_XYZ @ np.clip(light, 0, 1) / WHITE
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, vision):
    return float(np.linalg.norm(lab(VISION[vision] @ linear(one)) - lab(VISION[vision] @ linear(other))))


def lightness(rgb):
    return float(lab(np.full(3, linear(rgb) @ LUMINANCE))[0])


def contrast(one, other):
    low, high = sorted(linear(rgb) @ LUMINANCE for rgb in (one, other))
    return (high + 0.05) / (low + 0.05)


def of_hex(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def mixed(top, bottom, share):
    return tuple(share * a + (1 - share) * b for a, b in zip(top, bottom, strict=True))


def page_colours():
    """The page's scale on the box that completions stand in, light and dark: ink, less, even, more."""
    css, script = ((PAGE / name).read_text() for name in ("page.css", "page.js"))
    (share,) = re.findall(r"\$\{\((0\.\d+) \* Math", script)
    more, less = (
        tuple(map(int, found.split(", "))) for found in re.search(r'\? "([\d, ]+)" : "([\d, ]+)"', script).groups()
    )
    for ink, box in zip(
        re.findall("--ink: (#[0-9a-f]{6})", css), re.findall("--box: (#[0-9a-f]{6})", css), strict=True
    ):
        paper = of_hex(box)
        yield of_hex(ink), mixed(less, paper, float(share)), paper, mixed(more, paper, float(share))


def written():
    """What the terminal writes with."""
    (ink,) = {tuple(span.style.color.triplet) for span in legend().spans}
    return ink


SCALES = [(written(), LESS, EVEN, MORE), *page_colours()]
NAMES = ["terminal", "light page", "dark page"]


def test_the_measures_know_what_is_confused():
    red, green = (200, 60, 60), (110, 130, 60)
    assert distance(red, green, "trichromat") > 3 * distance(red, green, "protanope")
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert lightness((255, 255, 255)) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scale", SCALES, ids=NAMES)
def test_less_even_and_more_are_told_apart(scale, vision):
    _, *colours = scale
    assert min(distance(a, b, vision) for a, b in itertools.combinations(colours, 2)) > TOLD_APART


@pytest.mark.parametrize("scale", SCALES, ids=NAMES)
def test_what_is_written_on_them_can_be_read(scale):
    ink, *colours = scale
    assert min(contrast(ink, one) for one in colours) >= READABLE


def test_on_a_terminal_without_colour_more_is_lighter():
    weights = 1 / 3, 0.6, 1.0, 1.7, 3.0
    steps = np.diff([lightness(colour(weight)) for weight in weights])
    assert (steps > 0).all()
    assert lightness(EVEN) - lightness(LESS) > IN_GREY
    assert lightness(MORE) - lightness(EVEN) > IN_GREY


@pytest.mark.parametrize("vision", VISION)
def test_lines_and_bars_of_figures_are_told_apart(vision):
    for palette in (PALETTE, figures.PALETTE):
        pairs = itertools.combinations(map(of_hex, palette), 2)
        assert min(distance(a, b, vision) for a, b in pairs) > TOLD_APART
