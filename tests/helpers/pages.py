"""The commands on a page of the docs, for a test that runs every one of them as it stands there."""

import re

from clones import ROOT


class Page:
    """What is left to run of the commands of a page, or of one of its sections."""

    def __init__(self, name, section=None):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        if section:
            (text,) = (part for part in re.split("^## ", text, flags=re.MULTILINE) if part.startswith(f"{section}\n"))
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
        lines = "".join(block for language, block in blocks if not language).splitlines()
        self.left = [re.sub(r"(^|  +)#.*", "", line) for line in lines]

    def take(self, start, **replaced):
        """Give the first command that begins so, with what the page only gives an example of replaced."""
        command = next(line for line in self.left if line.startswith(start))
        self.left.remove(command)
        for example, real in replaced.items():
            assert example in command
            command = command.replace(example, str(real))
        return command.replace("make ", "make --old-file=install ")  # the environment is that of the tests
