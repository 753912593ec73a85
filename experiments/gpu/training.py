"""The part `train`: ERM, the uniform-margin control and MR2 on the carried data, by the usual trainer."""
import json
import shutil

import machine

RUN_FILES = machine.ROOT / "experiments" / "runs"
RUNS = machine.ROOT / "runs" / "gpu"  # not among the results: checkpoints and logits are large
ARMS = {"erm": "quickstart-erm.toml", "uniform": "quickstart-uniform.toml", "mr2": "quickstart-mr2.toml"}


def train(arm, seed, options, clock):
    """One run, in a folder of its own; what its result says of time and accuracy."""
    folder = RUNS / f"{arm}-seed{seed}"
    if folder.exists() and not options.resume:
        shutil.rmtree(folder)
    command = ["train", "--config", str(RUN_FILES / ARMS[arm]), "--out", str(folder), "--device", options.device, "--quiet", "--json",
               "--set", f"training.seed={seed}", "--set", f"training.epochs={options.epochs}",
               "--set", f"model.backbone={options.backbone}", *(["--resume"] if folder.exists() else [])]
    status, _ = machine.run(command, clock, capture=True)
    row = {"arm": arm, "seed": seed, "status": status}
    result = folder / "result.json"
    if status != 0 or not result.exists():
        return {**row, "error": "out of time" if status is None else f"status {status}"}
    result = json.loads(result.read_text())
    thirds = {name: result["thirds"].get(name) for name in ("easy", "medium", "hard")} if result.get("thirds") else None
    classes = [accuracy for accuracy in result["test"]["class_accuracy"] if accuracy is not None]
    overall = result["test"]["overall"]
    return {**row, "seconds_per_epoch": result["timings"]["training_seconds"] / options.epochs,
            "timings": result["timings"], "overall": overall, "worst": min(classes), "thirds": thirds,
            "curve": [epoch["loss"] for epoch in result["curves"]], "versions": result["versions"]}


def run(options, clock):
    path = options.out / "train.json"
    document = {"part": "train", "gpu": machine.gpu(options.device), "backbone": options.backbone, "epochs": options.epochs, "rows": []}
    before = (machine.read(path) or {"rows": []}) if options.resume else {"rows": []}
    done = {(row["arm"], row["seed"]): row for row in before["rows"] if "error" not in row}
    for seed in range(1, options.seeds + 1):
        for arm in ARMS:
            if options.only and arm not in options.only:
                continue
            row = done.get((arm, seed)) or train(arm, seed, options, clock)
            document["rows"].append(row)
            machine.write(path, document)
            said = row.get("error") or (f"{row['seconds_per_epoch']:.2f} s an epoch, {100 * row['overall']:.2f} overall, "
                                        f"{100 * row['worst']:.2f} worst class")
            print(f"{arm:8} seed {seed}: {said}", flush=True)
    return 0 if all("error" not in row for row in document["rows"]) else 1
