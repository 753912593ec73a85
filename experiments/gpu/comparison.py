"""The part `bench`: our steps beside PyTorch's on the same GPU, in turn."""
import json
import sys
from pathlib import Path

import machine

HERE = Path(__file__).resolve().parent
LAST = ["--layout", "channels_last"]
# name: how much of PyTorch's time ours may take, what is aimed at, and the variants of PyTorch, of which the fastest counts.
ROWS = {
    "resnet32-step": (1.0, 0.5, [[], LAST]),
    "wrn-28-10-step": (1.1, 0.95, [LAST]),
    "resnet50-step": (1.1, 0.95, [LAST]),
    "vit-b16-forward": (1.1, 0.95, [["--pure"], []]),
    "vit-b16-step": (1.15, 0.95, [[]]),
    "mr2-loss": (0.02, 0.01, [[]]),
}
# The loop over classes takes a second a step.
FEW = {"mr2-loss": ["--steps", "2", "--groups", "3", "--warm-up", "2"]}
LOSS_TOLERANCE = 1e-3


def last_object(status, output, what):
    """The JSON object on the last line, or an error in its place."""
    lines = output.strip().splitlines()
    if status == 0 and lines:
        return json.loads(lines[-1])
    return {"error": f"{what}: {'out of time' if status is None else f'status {status}'}"}


def compare(name, options, clock):
    """One row: ours, and every variant of PyTorch."""
    limit, aim, variants = ROWS[name]
    bounds = ["--only", name, "--device", options.device]
    for key in ("steps", "groups", "warm_up", "batch"):
        if getattr(options, key):
            bounds += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    ours = last_object(*machine.run(["gpu", "speed", *bounds], clock, capture=True), "ours")
    runs = []
    for variant in [] if options.ours_only else variants:
        few = [] if options.steps else FEW.get(name, [])
        command = [sys.executable, HERE / "peers.py", *bounds, *few, *variant]
        runs.append(last_object(*machine.execute(command, clock, capture=True), "PyTorch"))
    timed = [run for run in runs if "ms" in run]
    torch = min(timed, key=lambda run: run["ms"]) if timed else None
    row = {"name": name, "ours_ms": ours.get("ms"), "torch_ms": torch and torch["ms"], "ratio": None, "limit": limit,
           "aim": aim, "met": None, "precision": ours.get("precision"), "batch": ours.get("batch"),
           "memory_mib": {"ours": ours.get("memory_mib"), "torch": torch and torch["memory_mib"]},
           "torch_variant": torch and torch["variant"], "ours": ours, "torch": runs}
    if ours.get("ms") and torch:
        row["ratio"] = ours["ms"] / torch["ms"]
        if not same_loss(name, ours, torch):
            row["ours"]["error"] = f"our loss is {ours['loss']}, PyTorch's {torch['loss']}: they don't do the same work"
        elif options.device != "cpu" and not options.batch:  # a rehearsal isn't judged
            row["met"] = row["ratio"] <= limit
    return row


def same_loss(name, ours, torch):
    """The loss has the same inputs on both sides; elsewhere weights and images differ."""
    return name != "mr2-loss" or abs(ours["loss"] - torch["loss"]) <= LOSS_TOLERANCE * abs(torch["loss"])


def errors(row):
    return [run["error"] for run in [row["ours"], *row["torch"]] if "error" in run]


def line(row):
    def milliseconds(value):
        return "-" if value is None else f"{value:.3f} ms"
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
    word = {True: "met", False: "MISSED", None: "not judged"}[row["met"]]
    return (f"{row['name']:16} {row['precision'] or '-':5} batch {row['batch']}: ours {milliseconds(row['ours_ms'])}, PyTorch "
            f"{milliseconds(row['torch_ms'])} ({row['torch_variant']}), ratio {ratio}, limit {row['limit']:g} {word}, "
            f"MiB {row['memory_mib']['ours']} and {row['memory_mib']['torch']} {'; '.join(errors(row))}")


def markdown(document):
    """The table of a file of results."""
    gpu = document["gpu"] or {"name": "CPU, a rehearsal"}
    lines = ["# Steps on a GPU beside PyTorch", "",
             f"{gpu['name']}, driver {gpu.get('driver_version', '-')}. A step is forward, loss, backward and update; images are on the "
             "device. Milliseconds, medians of groups of steps, PyTorch eager in the faster of its variants.", "",
             "| work | batch | precision | ours | PyTorch | its variant | ratio | at most | aim |",
             "|---|--:|---|--:|--:|---|--:|--:|--:|"]

    def shown(value, form):
        return "-" if value is None else format(value, form)
    for row in document["rows"]:
        lines.append(f"| {row['name']} | {row['batch']} | {row['precision']} | {shown(row['ours_ms'], '.3f')} | "
                     f"{shown(row['torch_ms'], '.3f')} | {row['torch_variant'] or '-'} | {shown(row['ratio'], '.3f')} | "
                     f"{row['limit']:g} | {row['aim']:g} |")
    return "\n".join(lines) + "\n"


def versions(rows):
    """Of the program as it was for the row measured last; each row has its own too. None for files from before."""
    known = [row["ours"]["versions"] for row in rows if "versions" in row["ours"]]
    return known[-1] if known else None


def run(options, clock):
    path = options.out / "bench.json"
    document = {"part": "bench", "gpu": machine.gpu(options.device), "versions": None, "rows": []}
    before = machine.read(path) or {"rows": []}
    names = [name for name in ROWS if not options.only or any(part in name for part in options.only)]
    # Rows of other works stay; with --resume those of these works too.
    kept = {row["name"]: row for row in before["rows"]
            if row["name"] not in names or (options.resume and row["ratio"] is not None)}
    for name in names:
        if name not in kept:
            kept[name] = compare(name, options, clock)
            print(line(kept[name]), flush=True)
        document["rows"] = [kept[name] for name in ROWS if name in kept]
        document["versions"] = versions(document["rows"])
        machine.write(path, document)
        path.with_suffix(".md").write_text(markdown(document))
    return 0 if all(kept[name]["met"] is not False and not errors(kept[name]) for name in names) else 1
