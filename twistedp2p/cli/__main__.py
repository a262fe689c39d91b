"""``python -m twistedp2p.cli``: the same as ``twistedp2p``."""

from __future__ import annotations

from twistedp2p.cli.main import main

if __name__ == "__main__":
    main()
