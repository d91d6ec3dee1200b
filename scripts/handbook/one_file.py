#!/usr/bin/env python3
"""Write the handbook as one HTML file that needs no network: pareprop/handbook.html, which wheels built then carry.

    python scripts/handbook/one_file.py    # needs the extra `docs`

`pareprop help handbook` prints its path.
"""

from __future__ import annotations

import base64
import mimetypes
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUT = ROOT / "pareprop" / "handbook.html"
BUILT = ROOT / "build" / "handbook-one"
PAGE = BUILT / "scripts" / "handbook" / "index.html"
LINK = re.compile(r'<link rel="stylesheet"[^>]*?href="([^"?#]+)[^"]*"[^>]*>')
IMAGE = re.compile(r'(<img [^>]*?src=")([^":?#]+)(")')
SCRIPT = re.compile(  # and parts that do nothing without one
    r'<script\b[^>]*>.*?</script>|<link (?!rel="stylesheet")[^>]*>|<form class="sidebar-search-container".*?</form>',
    re.DOTALL,
)
ENLARGED = re.compile(r'<a [^>]*href="_images/[^"]+"[^>]*>\s*(<img [^>]+>)\s*</a>')
DOWNLOAD = re.compile(r'(href=")(_downloads/[^"]+)(")')
ELSEWHERE = re.compile(r'href="#document-[^"#]*#([^"]+)"')  # a heading of another page
ADDRESS = re.compile(r"url\([\"']?(?!data:|#)([^\"')]+)[\"']?\)")


def embed(text: str, folder: Path) -> str:
    """Put style sheets and images, which a page names from a folder, into it.

    Scripts are left out: the page can be read without.

    Raises
    ------
    FileNotFoundError
        If it names a file that is not there.
    """
    text = SCRIPT.sub("", text)
    text = LINK.sub(lambda link: f"<style>\n{_read_style(folder / link[1])}</style>", text)
    text = ELSEWHERE.sub(r'href="#\1"', text).replace('href="#document-scripts/handbook/index"', 'href="#"')
    for named in (IMAGE, DOWNLOAD):
        text = named.sub(lambda match: f"{match[1]}{_encode(folder / match[2])}{match[3]}", ENLARGED.sub(r"\1", text))
    return text


def _read_style(path: Path) -> str:
    text = path.read_text().replace("</", "<\\/")
    return ADDRESS.sub(lambda address: f"url({_encode(path.parent / address[1])})", text)


def _encode(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.resolve().read_bytes()).decode()}"


def main() -> None:
    """Build the pages as one, and write them with all that they show into the file."""
    read = ROOT / "build" / "handbook" / ".doctrees"  # of the handbook in many files, where it was made
    command = [
        sys.executable, "-m", "sphinx", "-W", "-q", "-b", "singlehtml", "-d", read, "-c", "scripts/handbook", ".", BUILT
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
    OUT.write_text(embed(PAGE.read_text(), BUILT))
    print(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
