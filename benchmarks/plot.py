"""What a step costs against the number of networks, the batch and the width of the first layer."""

import io
from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from pipeline.report.figures import DASHES, MARKERS, PALETTE, STYLE

TITLES = {
    "networks": ("By number of networks, batch 512", "networks in the ensemble"),
    "batch": ("By batch size, 16 networks", "batch size"),
    "width": ("By width, 4 networks", "units of the first layer"),
}


def costs(measured: Mapping[str, Mapping[int, Mapping[str, float]]]) -> bytes:
    """Draw microseconds a step of one network, a panel a quantity, as the bytes of a PNG file."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3))
        for axis, (quantity, by) in zip(figure.subplots(1, 3), measured.items(), strict=True):
            for place, name in enumerate(next(iter(by.values()))):
                axis.plot(
                    list(by),
                    [row[name] for row in by.values()],
                    color=PALETTE[place],
                    linestyle=DASHES[place],
                    marker=MARKERS[place],
                    markersize=3.5,
                    label=name,
                )
            title, label = TITLES[quantity]
            axis.set(title=title, xlabel=label, xscale="log", yscale="log")
            ticks = list(by)
            axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.minorticks_off()
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:,.0f}")
            axis.grid(which="major")
        figure.axes[0].set_ylabel("microseconds a step of one network")
        figure.axes[0].legend()
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=160, metadata={"Software": None})
        return content.getvalue()
