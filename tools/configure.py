"""Give this clone's DVC a private folder for its notes, and a page of plots that opens with no network.

DVC's notes are pickles, and by default lie in a folder that all users of the machine share. Its page of plots,
`.dvc/plots/page.html`, loads Vega from the internet; the page that is written here, which git ignores, holds Vega
itself, from the package vl-convert-python. `.dvc/config.local` names both. Of two that run at once, the second waits
and finds it done. If the page is deleted, DVC's plots fail until `make` or this has written it again.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import vl_convert

PAGE = Path(".dvc/plots/page.html")
OFFLINE_PAGE = Path(".dvc/plots/page-offline.html")
CONFIG = Path(".dvc/config.local")
VEGA_LITE = "6.4"  # the one, of those that vl-convert holds, that goes with its Vega 6
GLOBALS = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"
PLACEHOLDERS = ("{refresh_tag}", "{scripts}", "{plot_divs}")


def main() -> None:
    """Write the page if it is missing or old, and point DVC at it and at the folder unless it has its own."""
    with Path(".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not OFFLINE_PAGE.exists() or is_older(OFFLINE_PAGE, PAGE, Path(__file__)):
            write_page()
        known = CONFIG.read_text(encoding="utf-8", errors="replace") if CONFIG.exists() else ""
        if "site_cache_dir" not in known:
            dvc("config", "--local", "core.site_cache_dir", f"{private_folder()}")
        if "html_template" not in known:
            dvc("config", "--local", "plots.html_template", OFFLINE_PAGE.relative_to(".dvc").as_posix())


def is_older(path: Path, *others: Path) -> bool:
    """Tell whether one of the others was changed later."""
    return any(other.stat().st_mtime > path.stat().st_mtime for other in others)


def write_page() -> None:
    """Write the page whole or not at all."""
    temporary = OFFLINE_PAGE.with_name(f".{OFFLINE_PAGE.name}.tmp")
    temporary.write_text(offline_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    temporary.replace(OFFLINE_PAGE)


def offline_page(page: str) -> str:
    """Replace the page's links to Vega, Vega-Lite and Vega-Embed by the libraries themselves."""
    bundle = vl_convert.javascript_bundle(GLOBALS, VEGA_LITE).replace("</script", r"<\/script")
    if any(placeholder in bundle for placeholder in PLACEHOLDERS):
        raise ValueError("the JavaScript holds a placeholder that DVC would fill")
    # In a function of its own: the bundle's short names would be global, and DVC's `var spec` too.
    return page.replace("{scripts}", f"<script>\n(function () {{\n{bundle}\n}})();\n</script>")


def private_folder() -> Path:
    """Make a folder that only its owner can read, outside of the clone."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = caches.absolute() / "dvc-site"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def dvc(*command: str) -> str:
    """Return what a command of DVC prints about its settings; an error is one line."""
    done = subprocess.run([sys.executable, "-m", "dvc", *command], check=False, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]  # below a traceback
        sys.exit(f"{last}; correct {CONFIG}, or delete it and type make")
    return done.stdout


if __name__ == "__main__":
    try:
        main()
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"DVC could not be configured: {error}; the folders .dvc and HOME must be whole and writable")
