"""Write the repository's address into the citation and the book's buttons.

Run ``make stamp ADDRESS=https://github.com/you/earthtie``, and again after the repository moved.
Before the first stamp there are no such links. The buttons open the Colab edition, which
``book/colab.py`` makes and the workflow of publication puts into the branch colab.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
CHANGES = (  # file, what stands there with or without an earlier stamp, and what is to stand there
    (
        "_config.yml",
        r"(?m)^(?:repository:\n(?:  .*\n)+\n)?launch_buttons:$",
        "repository:\n  url: {0}\n  branch: colab\n\nlaunch_buttons:",
    ),
    ("_config.yml", r'colab_url: ".*"', 'colab_url: "https://colab.research.google.com"'),
    ("_config.yml", r"use_repository_button: \w+", "use_repository_button: true"),
    (
        "CITATION.cff",
        r"(?m)^(?:repository-code: .*\n)?license: MIT$",
        'repository-code: "{0}"\nlicense: MIT',
    ),
)


def stamp(address: str, root: Path = ROOT) -> None:
    """Stamp the files of a repository; an earlier address is replaced.

    Raises
    ------
    ValueError
        If the address is not that of a repository on GitHub; Colab opens notebooks from there.
    """
    address = address.removesuffix("/").removesuffix(".git")
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"expected https://github.com/OWNER/NAME, got {address!r}")
    for name, pattern, text in CHANGES:
        content, count = re.subn(pattern, text.format(address), (root / name).read_text("utf-8"))
        if count != 1:
            raise ValueError(f"{name} has {count} places for {text!r}, expected one")
        (root / name).write_text(content, "utf-8")


if __name__ == "__main__":
    try:
        stamp(" ".join(sys.argv[1:]))
    except ValueError as error:
        sys.exit(str(error))
