"""docs/reference/formats.md against the code."""

from importlib import import_module
from typing import get_args

from ai4diag.config.sources.images import Images
from ai4diag.data.readers import READERS
from ai4diag.data.readers.pictures import LARGEST_IMAGE_PIXELS
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "reference" / "formats.md").read_text()


def test_every_ending_and_every_format_of_boxes_is_on_the_page():
    for ending, reader in READERS.items():
        assert "| a folder |" in PAGE if ending == "/" else f"`{ending}`" in PAGE
        module, _, name = reader.partition(":")
        assert callable(getattr(import_module(module), name))
    for kind in get_args(Images.model_fields["format"].annotation):
        assert f"| `{kind}` |" in PAGE


def test_the_limit_of_pictures_is_that_of_the_page():
    assert f"{LARGEST_IMAGE_PIXELS // 10**6} million pixels" in PAGE
