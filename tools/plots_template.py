"""Write the page of `dvc plots show` with Vega inlined, so that it opens with no network.

`.dvc/plots/page.html` is the page as committed; DVC fills its `{scripts}` with links to a CDN. This puts the
libraries themselves there, from the vl-convert-python package, into a file that git ignores, and names
that file in `.dvc/config.local`. If the file is deleted, DVC's plots fail until `make` or this has written it again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import vl_convert

VEGA_LITE = "6.4"  # the one, of those that vl-convert holds, that goes with its Vega 6
PAGE = Path(".dvc/plots/page.html")
OFFLINE_PAGE = Path(".dvc/plots/page-offline.html")
GLOBALS = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"
PLACEHOLDERS = ("{refresh_tag}", "{scripts}", "{plot_divs}")


def offline_page(page: str) -> str:
    """Replace the page's links to Vega, Vega-Lite and Vega-Embed by the libraries themselves."""
    bundle = vl_convert.javascript_bundle(GLOBALS, VEGA_LITE).replace("</script", r"<\/script")
    if any(placeholder in bundle for placeholder in PLACEHOLDERS):
        raise ValueError("the JavaScript holds a placeholder that DVC would fill")
    # In a function of its own: the bundle's short names would be global, and DVC's `var spec` too.
    return page.replace("{scripts}", f"<script>\n(function () {{\n{bundle}\n}})();\n</script>")


def main() -> None:
    """Write the page and point this clone's DVC at it."""
    OFFLINE_PAGE.write_text(offline_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    setting = ("plots.html_template", OFFLINE_PAGE.relative_to(".dvc").as_posix())
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "--quiet", *setting], check=True)
    print(f"{OFFLINE_PAGE}: {OFFLINE_PAGE.stat().st_size / 1e6:.1f} MB, for `dvc plots show` with no network")


if __name__ == "__main__":
    main()
