"""Finds the data files that travel with the code: assets/ and recipes/, in a checkout or in an installed wheel."""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent
_PACKAGED = Path(__file__).resolve().parent / "data"


def resource_dir(name: str) -> Path:
    """Folder of packaged data.

    Args:
        name: "assets" or "recipes".

    Returns:
        The wheel's own copy if this is an installed wheel, else the folder of the checkout.
    """
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _CHECKOUT / name
