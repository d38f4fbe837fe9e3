"""What came of the measurements, as tables and pictures. The data are those of results.json."""

import shutil
import statistics
import subprocess

import cases
import figures

SOME = 0.001        # share of misses among hits that is worth a line

OURS, THEIRS, BYTES = "#1f6f8b", "#b8b8b8", "#dddddd"

NAT_WARNING = ("WARNING: nft has NAT rules: connection tracking slows what is measured here, new "
               "connections above all, and loses them when its table is full.")


def median(samples, key):
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.median(values) if values else None


def spread(samples, key, digits):
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    if len(values) < 2:
        return ""
    return f"{write(min(values), digits)} to {write(max(values), digits)}"


def of(data, name, case, key):
    """The median of a target in a case; None when it was not measured."""
    return median(data["results"].get(name, {}).get(case, ()), key)


def median_ratio(samples, to, key):
    """Of two measurements that were made in turns: each is compared with that of the same turn."""
    ratios = [one[key] / other[key] for one, other in zip(samples, to)
              if one.get(key) and other.get(key)]
    return statistics.median(ratios) if ratios else None


def is_peer(data, name, case):
    """
    Not ours; and where client connections are kept, one that looks at the messages on them.
    """
    about = data["targets"][name]
    return not about["ours"] and not (case.startswith("tcp-") and about["bytes"])


def best(data, case, key, more_is_better):
    """(value, name) of the peer with the best median; (None, None) without any."""
    found = [(of(data, name, case, key), name) for name in data["results"]
             if is_peer(data, name, case) and of(data, name, case, key)]
    return (max if more_is_better else min)(found, default=(None, None))


def write(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(data, case, left_out):
    """The first column has its spread; where a better value exists, the ratio to the best."""
    columns = cases.COLUMNS[data["cases"][case]["kind"]]
    columns = [column for column in columns if any(of(data, name, case, column[1]) is not None
                                                   for name in data["results"])]
    head = [""]
    rows = []
    for n, (heading, _, _, better) in enumerate(columns):
        head += [heading] + ([] if better is None else ["x best"]) + ([] if n else ["from, to"])
    for name, results in data["results"].items():
        if case not in results:
            continue
        row = [label(data, name)]
        for n, (_, key, digits, better) in enumerate(columns):
            value = median(results[case], key)
            row.append(write(value, digits))
            if better is not None:
                peer, _ = best(data, case, key, better)
                row.append(write(value / peer if value is not None and peer else None, 2))
            if n == 0:
                row.append(spread(results[case], key, digits))
        rows.append(row)
    print_rows(data["cases"][case]["title"], [head, *rows])
    for name, results in data["results"].items():
        misses = sum(sample.get("misses", 0) for sample in results.get(case, ()))
        answered = sum(sample["answered"] for sample in results.get(case, ()) if "misses" in sample)
        if misses > SOME * answered:
            print(f"  {name}: NOT ALL HITS: {misses:,} of {answered:,} went upstream")
    for name, why in left_out.items():
        print(f"  {name}: left out, {why}")


def label(data, name):
    about = data["targets"][name]
    return name + " *" * about["bytes"] + " !" * bool(about["unverified"])


def print_rows(title, rows):
    print(f"\n{title}")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join([row[0].ljust(widths[0])]
                               + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:])]).rstrip())


def figure(title, rows, columns):
    """Rows are {label: samples}, columns (heading, key, digits): each with its spread."""
    lines = [["", *(heading for heading, _, _ in columns)]]
    for name, samples in rows.items():
        line = [name]
        for _, key, digits in columns:
            value, extent = write(median(samples, key), digits), spread(samples, key, digits)
            line.append(value if extent in ("", f"{value} to {value}") else f"{value} ({extent})")
        lines.append(line)
    print_rows(title, lines)


def show(data):
    print(f"\ndot-proxy beside others, {data['date']}: {data['cores']} cores of {data['cpu']}, "
          f"{data['system']}")
    print(f"Medians of up to {data['repeats']}, {data['seconds']} s each; everything on this one "
          "machine. `x best': beside the best of the others.\n"
          "* passes bytes on: where connections are kept, it is no measure for the others.")
    if data["nat"]:
        print(NAT_WARNING)
    if data["root"]:
        print(f"Other programs are those of {data['root']}, where it has them.")
    for name, about in data["targets"].items():
        print(f"  {name}: {about['version']}")
        if about["unverified"]:
            print(f"  ! {name} asks an upstream whose certificate is of "
                  f"{', '.join(about['unverified'])}")
    for name, why in {**data["missing"], **data["left_out"].get("all", {})}.items():
        print(f"  {name}: MISSING: {why}")
    for case in data["cases"]:
        if any(case in results for results in data["results"].values()):
            table(data, case, data["left_out"].get(case, {}))
    for name, title, columns in figures.TABLES:
        if name in data["figures"]:
            figure(title, data["figures"][name], columns)
    for name, why in data["figures_left_out"].items():
        print(f"\n{name}: left out, {why}")


def _quote(text):
    return "'" + text.replace("'", "''") + "'"


def _bars(data, case):
    lines = [f"set title {_quote(data['cases'][case]['title'])}", "$data << EOD"]
    for name in data["results"]:
        value = of(data, name, case, "qps")
        if value is not None:
            about = data["targets"][name]
            color = OURS if about["ours"] else BYTES if about["bytes"] else THEIRS
            lines.append(f"\"{name}\" {value} {int(color[1:], 16)}")
    lines += ["EOD", "plot $data using 0:2:3:xtic(1) with boxes lc rgb variable notitle"]
    return lines


def _gnuplot(path, size, lines):
    script = [f"set terminal svg size {size} font 'sans,11' background '#ffffff'",
              f"set output {_quote(str(path))}", *lines]
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True, timeout=60)


def _words(data):
    return f"{data['date']}, {data['cores']} cores of {data['cpu']}"


def draw_bars(path, data, chosen):
    """A panel for each of these cases that was measured: queries per second of each target."""
    chosen = [case for case in chosen if any(case in done for done in data["results"].values())]
    if not chosen:
        return
    rows = (len(chosen) + 1) // 2
    lines = [f"set multiplot layout {rows},2 title {_quote(_words(data))}",
             "set style fill solid", "set boxwidth 0.8", "set yrange [0:*]",
             "set ylabel 'queries/s'", "set format y '%.0s%c'",
             "set xtics rotate by -40 nomirror", "set grid y", "set border 3",
             "set ytics nomirror"]
    for case in chosen:
        lines += _bars(data, case)
    _gnuplot(path, f"1100,{60 + 300 * rows}", [*lines, "unset multiplot"])


def draw_latency(path, data, mode):
    """Median and 99th percentile over load, over TCP or UDP."""
    points = [(about["options"]["rate"], case) for case, about in data["cases"].items()
              if about["mode"] == mode and not about["options"]["slow"]]
    title = f"{mode.upper()} at a fixed rate, {_words(data)}"
    lines = [f"set title {_quote(title)}", "set logscale xy", "set xlabel 'queries/s'",
             "set ylabel 'ms: median, and dashed the 99th percentile'", "set key outside",
             "set grid", "set border 3", "set tics nomirror"]
    plots = []
    for n, name in enumerate(data["results"]):
        rows = [(rate, of(data, name, case, "p50_ms"), of(data, name, case, "p99_ms"))
                for rate, case in points]
        rows = [row for row in rows if None not in row]
        if len(rows) < 2:
            continue
        lines += [f"$data{n} << EOD", *(" ".join(map(str, row)) for row in rows), "EOD"]
        plots += [f"$data{n} using 1:2 with linespoints lc {n + 1} title {_quote(name)}",
                  f"$data{n} using 1:3 with lines dt 2 lc {n + 1} notitle"]
    if plots:
        _gnuplot(path, "900,500", [*lines, "plot " + ", ".join(plots)])


def draw(out, data):
    """The pictures of a run: bars for each delay of the upstream, and latency over load."""
    for delay in sorted({about["delay"] for about in data["cases"].values()}):
        draw_bars(out / f"bars-{delay}ms.svg", data,
                  [case for case, about in data["cases"].items() if about["kind"] == "load"
                   and about["outstanding"] and about["delay"] == delay])
    draw_bars(out / "bars-hits.svg", data,
              [case for case, about in data["cases"].items() if about["kind"] == "hits"])
    for mode in ("tcp", "udp"):
        draw_latency(out / f"latency-{mode}.svg", data, mode)


def can_draw():
    return shutil.which("gnuplot") is not None
