"""Draws results.json: events per CPU second, one bar per engine and number of keys.

    chart.py RESULTS.json OUT.svg
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
# The same results give the same bytes; text stays text.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "evenkeel", "font.family": "sans-serif", "font.size": 10})
from matplotlib import pyplot  # noqa: E402

COLOURS = {1_000: ("#0b6e99", "#7fb3c8"), 100_000: ("#b35c00", "#deb07a")}  # evenkeel's, and everybody else's
HEIGHT = 0.38


def short(number):
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def panel(axes, results, title):
    of = {(it["title"], it["keys"]): it for it in results}
    titles = list(dict.fromkeys(it["title"] for it in results))
    keys = sorted({it["keys"] for it in results})
    for row, name in enumerate(titles):
        for at, count in enumerate(keys):
            it = of.get((name, count))
            if it:
                value, y = it["events_per_cpu_s"], row + (at - (len(keys) - 1) / 2) * HEIGHT
                colour = COLOURS.get(count, COLOURS[1_000])[it["engine"] != "evenkeel"]
                axes.barh(y, value, HEIGHT * 0.94, color=colour)
                axes.text(value * 1.08, y, f"{short(value)}  ({count:,} keys)", va="center", fontsize=8)
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(right=max(it["events_per_cpu_s"] for it in results) * 12)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return len(titles)


def main(source, out):
    with open(source) as results:
        results = [it for it in json.load(results)["results"] if it["agrees"] and "events_per_s" in it]
    inputs = [name for name in ("file", "kafka") if any(it["input"] == name for it in results)]
    if not inputs:
        return
    rows = [len({it["title"] for it in results if it["input"] == name}) for name in inputs]
    figure, panels = pyplot.subplots(
        len(inputs), figsize=(8.5, 0.62 * sum(rows) + 1.1 * len(inputs)), height_ratios=rows, squeeze=False
    )
    said = {"file": "From files of JSON lines", "kafka": "From a Kafka topic"}
    for axes, name in zip(panels[:, 0], inputs):
        panel(axes, [it for it in results if it["input"] == name], said[name])
    panels[-1, 0].set_xlabel("events per CPU second (log scale): rolling 60 s p99 and error rate of every key, every second")
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


main(*sys.argv[1:])
