"""`python -m website [PLACE]`: build the site; `dist/site` if no place is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from website.build import ROOT, build


def main() -> int:
    """Build, and say where; a link that leads nowhere ends it with 1."""
    place = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist/site"
    try:
        build(place)
    except subprocess.CalledProcessError as error:
        print(error.stdout)  # noqa: T201  what the generator has to say
        return 1
    print(f"{place}/index.html")  # noqa: T201  the command's answer
    return 0


sys.exit(main())
