"""What of an interactive view reaches the disk."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from traitlets.config import Config

from ai4diag.jupyter.saving import VIEW, register

manager = pytest.importorskip("jupyter_server.services.contents.filemanager")


def notebook():
    view = {"model_id": "1", "version_major": 2, "version_minor": 0}
    bundles = [{VIEW: view, "text/html": "<img alt='a'>", "text/plain": "a"}, {VIEW: view, "text/plain": "slider"}]
    outputs = [{"output_type": "display_data", "metadata": {}, "data": data} for data in bundles]
    outputs.append({"output_type": "stream", "name": "stdout", "text": "b"})
    code = {"cell_type": "code", "id": "a", "metadata": {}, "source": "", "execution_count": 1, "outputs": outputs}
    words = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "c"}
    return {"cells": [code, words], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_picture_is_saved_without_the_view_and_a_view_without_a_picture_stays(tmp_path, replaced):
    config = Config()
    contents = manager.FileContentsManager(root_dir=str(tmp_path), config=config)
    register(SimpleNamespace(contents_manager=contents, config=config))
    if replaced:  # as jupytext does
        contents = manager.FileContentsManager(root_dir=str(tmp_path), config=config)
    contents.save({"type": "notebook", "format": "json", "content": notebook()}, "a.ipynb")
    contents.save({"type": "file", "format": "text", "content": "words"}, "a.txt")
    first, second, third = json.loads((tmp_path / "a.ipynb").read_text())["cells"][0]["outputs"]
    assert set(first["data"]) == {"text/html", "text/plain"}
    assert set(second["data"]) == {VIEW, "text/plain"}
    assert third["text"] in ("b", ["b"])
    assert (tmp_path / "a.txt").read_text() == "words"


def test_a_hook_that_somebody_set_stays():
    def own(model, path, contents_manager):
        """Somebody's."""

    config = Config({"ContentsManager": {"pre_save_hook": own}})
    register(SimpleNamespace(contents_manager=manager.FileContentsManager(), config=config))
    assert config.ContentsManager.pre_save_hook is own
