"""Tell stories until somebody stops it, or so many: `python -m tests.simulation.soak COUNT FIRST`.

A story that fails is told once more at the end, with its seed; nothing is kept, see `seeds.txt` for that.
"""

from __future__ import annotations

import sys
import time

from tests.simulation.stories import Story
from twistedp2p.testing.disk import folder_in_memory


def main(count: int, first: int) -> int:
    """Tell `count` stories from the seed `first` on; return how many failed."""
    failed = []
    begin = time.monotonic()
    for seed in range(first, first + count):
        with folder_in_memory() as folder:
            story = Story(seed, folder)
            try:
                story.tell()
            except Exception as error:
                failed.append(seed)
                print(f"seed {seed}:", *story.lines, error, sep="\n", flush=True)
    seconds = time.monotonic() - begin
    print(f"{count} stories from {first} on took {seconds:.0f} s; {len(failed)} failed: {failed}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])) > 0)
