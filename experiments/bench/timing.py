"""How the peers measure: warm up, repeat, print the median as one JSON line."""
import json
import statistics
import time


def report(work, repetitions, warm_up):
    """Runs `work` and prints {"seconds", "cpu_seconds"} per repetition (medians)."""
    for _ in range(warm_up):
        work()
    wall, cpu = [], []
    for _ in range(repetitions):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    print(json.dumps({"seconds": statistics.median(wall), "cpu_seconds": statistics.median(cpu), "repetitions": repetitions}))
