import numpy as np
import pytest

from synthgen.forms import FORM_SIZES_M, unit_form


@pytest.mark.parametrize("form", list(FORM_SIZES_M))
def test_every_form_fits_the_unit_cube_and_stands_on_its_floor(form: str) -> None:
    vertices, faces = unit_form(form)
    assert np.abs(vertices).max() <= 0.5 + 1e-9
    assert vertices[:, 2].min() == pytest.approx(-0.5)
    assert faces.min() == 0 and faces.max() == len(vertices) - 1


@pytest.mark.parametrize("form", ["box", "ball", "cylinder", "cone", "table", "chair", "sofa", "shelf", "barrier"])
def test_solid_forms_face_outwards(form: str) -> None:
    vertices, faces = unit_form(form)
    a, b, c, d = vertices[faces].transpose(1, 0, 2)
    volume = (np.einsum("fc,fc->f", a, np.cross(b, c)) + np.einsum("fc,fc->f", a, np.cross(c, d))).sum() / 6
    assert volume > 0


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown form 'piano'"):
        unit_form("piano")
