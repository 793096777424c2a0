"""Figures inside a self-contained HTML page: SVG whose ink takes the page's text colour, pictures as data URLs.

Light and dark pages then read equally well. Needs matplotlib, which whoever writes pages installs.
"""

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from posecore.codec import encode_image

INK = "#123456"  # stands for the page's text colour until the SVG is embedded
SERIES = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # Okabe-Ito: told apart by colour-blind eyes


def stylesheet() -> str:
    """The CSS that the pages share."""
    return (Path(__file__).parent / "page.css").read_text()


def style() -> dict[str, Any]:
    """Settings for matplotlib.rc_context around everything that draws."""
    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    return ink | {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "posesynth", "font.family": "sans-serif"}


def clean(axes: Any) -> None:
    """Take away what is not data: two spines, and grid lines but faint ones."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)


def svg(figure: Figure) -> str:
    """The figure as an SVG element on a clear ground, its ink the page's."""
    buffer = io.StringIO()
    with matplotlib.rc_context(style()):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def jpeg_url(image: np.ndarray) -> str:
    """A picture [H, W, 3] uint8 RGB as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(image, "jpg", 88)).decode()
