"""The modules that docs/embedding.md shows: each block of Python names its file in its first line."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["EXAMPLES", "module"]

DOCS = Path(__file__).parent.parent.parent / "docs"
EXAMPLES = DOCS / "examples"


def module(name: str, folder: Path) -> ModuleType:
    """Return the module NAME.py of the page, written to `folder` and imported; the same one when asked again."""
    if name in sys.modules:
        return sys.modules[name]
    text = (DOCS / "embedding.md").read_text(encoding="utf-8")
    found = re.search(rf"^```python\n# {name}\.py\n(.*?)^```$", text, re.M | re.S)
    assert found, f"docs/embedding.md shows no {name}.py"
    path = folder / f"{name}.py"
    path.write_text(found[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
