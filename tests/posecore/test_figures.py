import base64

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from posecore.codec import decode_image
from posecore.figures import INK, clean, jpeg_url, style, stylesheet, svg


def test_the_ink_of_a_figure_is_the_pages_own() -> None:
    with matplotlib.rc_context(style()):
        axes = (figure := Figure(figsize=(2, 1))).subplots()
        axes.plot([0, 1], [0, 1])
        axes.set_xlabel("steps", color=INK)
        clean(axes)
        text = svg(figure)
    assert text.startswith("<svg") and "currentColor" in text and INK not in text
    assert ">steps</text>" in text  # words stay words


def test_the_same_figure_is_the_same_text() -> None:
    texts = set()
    for _ in range(2):
        (figure := Figure(figsize=(2, 1))).subplots().plot([0, 1], [1, 0])
        texts.add(svg(figure))
    assert len(texts) == 1


def test_a_picture_travels_within_the_page() -> None:
    image = np.full((16, 24, 3), 200, np.uint8)
    head, _, data = jpeg_url(image).partition(",")
    assert head == "data:image/jpeg;base64"
    assert np.abs(decode_image(base64.b64decode(data), "x").astype(int) - image).max() <= 2


def test_the_stylesheet_loads_nothing() -> None:
    assert "url(" not in stylesheet() and "@import" not in stylesheet() and "prefers-color-scheme: dark" in stylesheet()
