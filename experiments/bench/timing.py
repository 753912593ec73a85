"""How the peers measure: warm up, repeat, print the medians as one JSON line, as `mr2 bench --json` does."""
import json
import statistics
import time


def report(work, repetitions, warm_up, **more):
    """Runs `work`, which returns its loss, and prints {"seconds", "cpu_seconds", "repetitions", "loss"} and `more`."""
    for _ in range(warm_up):
        work()
    wall, cpu = [], []
    for _ in range(repetitions):
        start, start_cpu = time.perf_counter(), time.process_time()
        loss = work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    print(json.dumps({"seconds": statistics.median(wall), "cpu_seconds": statistics.median(cpu),
                      "repetitions": repetitions, "loss": loss, **more}))
