"""What came of the measurements: tables, a file for other programs, and pictures."""

import json
import shutil
import statistics
import subprocess

OURS, THEIRS, OCTETS = "#1f6f8b", "#b8b8b8", "#dddddd"


def median(samples, key):
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.median(values) if values else None


def spread(samples, key, digits):
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    if len(values) < 2:
        return ""
    return f"{write(min(values), digits)} to {write(max(values), digits)}"


def best(results, targets, case, key, more_is_better):
    """
    The best median of a peer; where client connections are kept, of one that looks at the
    messages on them.
    """
    values = [median(samples[case], key) for name, samples in results.items()
              if case in samples and not targets[name].is_ours
              and not (case.startswith("tcp-") and targets[name].passes_octets)]
    values = [value for value in values if value]
    if not values:
        return None
    return max(values) if more_is_better else min(values)


def write(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(results, targets, case, title, columns, left_out):
    """
    The columns are (heading, key, digits, more is better or None); beside those with a
    better stands the ratio to the best peer, and beside the first one its spread.
    """
    head = [""]
    rows = []
    for n, (heading, key, digits, better) in enumerate(columns):
        head += [heading] + ([] if better is None else ["x best"]) + ([] if n else ["from, to"])
    for name, samples in results.items():
        if case not in samples:
            continue
        row = [name + (" *" if targets[name].passes_octets else "")]
        for n, (heading, key, digits, better) in enumerate(columns):
            value = median(samples[case], key)
            row.append(write(value, digits))
            if better is not None:
                peer = best(results, targets, case, key, better)
                row.append(write(value / peer if value is not None and peer else None, 2))
            if n == 0:
                row.append(spread(samples[case], key, digits))
        rows.append(row)
    _print(title, [head, *rows])
    for name, why in left_out.items():
        print(f"  {name}: left out, {why}")


def _print(title, rows):
    print(f"\n{title}")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join([row[0].ljust(widths[0])]
                               + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:])]).rstrip())


def figure(title, rows, columns):
    """Rows are {label: samples}, columns (heading, key, digits): each with its spread."""
    lines = [["", *(heading for heading, _, _ in columns)]]
    for label, samples in rows.items():
        line = [label]
        for _, key, digits in columns:
            value, extent = write(median(samples, key), digits), spread(samples, key, digits)
            line.append(value if extent in ("", f"{value} to {value}") else f"{value} ({extent})")
        lines.append(line)
    _print(title, lines)


def write_json(path, about, results):
    path.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


def _quote(text):
    return "'" + text.replace("'", "''") + "'"


def _bars(results, targets, case, title):
    rows = [(name, median(samples[case], "qps"), targets[name])
            for name, samples in results.items() if case in samples]
    lines = [f"set title {_quote(title)}", "$data << EOD"]
    for name, value, target in rows:
        color = OURS if target.is_ours else OCTETS if target.passes_octets else THEIRS
        lines.append(f"\"{name}\" {value or 0} {int(color[1:], 16)}")
    lines += ["EOD", "plot $data using 0:2:3:xtic(1) with boxes lc rgb variable notitle"]
    return lines


def _gnuplot(path, size, lines):
    script = [f"set terminal svg size {size} font 'sans,11' background '#ffffff'",
              f"set output {_quote(str(path))}", *lines]
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True, timeout=60)


def draw_bars(path, results, targets, cases, about):
    """A panel for each (case, title): queries per second of each target."""
    cases = [(case, title) for case, title in cases
             if any(case in samples for samples in results.values())]
    if not cases:
        return
    rows = (len(cases) + 1) // 2
    lines = [f"set multiplot layout {rows},2 title {_quote(about)}", "set style fill solid",
             "set boxwidth 0.8", "set yrange [0:*]", "set ylabel 'queries/s'",
             "set format y '%.0s%c'", "set xtics rotate by -40 nomirror", "set grid y",
             "set border 3", "set ytics nomirror"]
    for case, title in cases:
        lines += _bars(results, targets, case, title)
    _gnuplot(path, f"1100,{60 + 300 * rows}", [*lines, "unset multiplot"])


def draw_latency(path, results, points, about):
    """Median and 99th percentile over load; POINTS are (queries per second, case)."""
    lines = [f"set title {_quote(about)}", "set logscale xy", "set xlabel 'queries/s'",
             "set ylabel 'ms: median, and dashed the 99th percentile'", "set key outside",
             "set grid", "set border 3", "set tics nomirror"]
    plots = []
    for n, (name, samples) in enumerate(results.items()):
        rows = [(rate, median(samples[case], "p50_ms"), median(samples[case], "p99_ms"))
                for rate, case in points if case in samples]
        rows = [row for row in rows if None not in row]
        if not rows:
            continue
        lines += [f"$data{n} << EOD", *(" ".join(map(str, row)) for row in rows), "EOD"]
        plots += [f"$data{n} using 1:2 with linespoints lc {n + 1} title {_quote(name)}",
                  f"$data{n} using 1:3 with lines dt 2 lc {n + 1} notitle"]
    if plots:
        _gnuplot(path, "900,500", [*lines, "plot " + ", ".join(plots)])


def can_draw():
    return shutil.which("gnuplot") is not None
