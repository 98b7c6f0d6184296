"""The snippets of the page "How do I ...?" run, one after the other, in an empty folder."""

import re
from pathlib import Path

import matplotlib.pyplot as plt

PAGE = Path(__file__).parents[1] / "book" / "howto.md"


def test_all_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 14
    names: dict = {}
    for number, snippet in enumerate(snippets, start=1):
        exec(compile(snippet, f"snippet {number}", "exec"), names)
    plt.close("all")
    assert names["scores"].shape == (5,)
    assert names["path"].is_file()
    assert {path.name for path in tmp_path.iterdir()} >= {"africa.tif", "run", "my-model"}
