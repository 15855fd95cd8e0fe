"""How long ``weightscape diagnose`` takes from the command to the page: ResNet-20 and 1,000 images of CIFAR-10.

The whole command counts: the start of the interpreter, reading the data, discovery and its proof, matching,
recalibrated batch norms, both lines, figures and the page. Needs CIFAR-10 (``WEIGHTSCAPE_DATA``). The work does not
depend on the values of the weights, which are fresh ones unless two files are given. Writes ``results/diagnose.json``:
wall-clock seconds, and the processor seconds that they took, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from common import gemm_rate, seconds, write_results

from weightscape.models.building import build_model
from weightscape.weights.algebra import weights_of
from weightscape.weights.files import save_weights


def fresh(folder: Path) -> list[str]:
    """Write two freshly initialised networks and return their paths."""
    paths = [folder / f"resnet20-{seed}.safetensors" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        save_weights(path, weights_of(build_model("resnet20_w1", shape=(3, 32, 32), classes=10, seed=seed)))
    return [str(path) for path in paths]


def processor_seconds() -> float:
    """Return the processor time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help="two files of weights of resnet20_w1; fresh ones by default")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="1 on a busy machine, where two threads wait in vain")
    given = parser.parse_args()
    program = str(Path(sys.executable).with_name("weightscape"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        networks = given.networks or fresh(Path(folder))
        for number in range(given.rounds):
            command = [program, "diagnose", *networks, "--data", "cifar10", "--images", str(given.images)]
            command += ["--device", "cpu", "--threads", str(given.threads), "--workspace", f"{folder}/runs{number}"]
            load, before = os.getloadavg()[0], processor_seconds()
            wall = seconds(lambda command=command: subprocess.run(command, check=True, capture_output=True))
            rows.append({"wall seconds": round(wall, 1), "processor seconds": round(processor_seconds() - before, 1)})
            rows[-1] |= {"load of the machine before": round(load, 1), "GEMM GFLOP/s": round(gemm_rate(), 1)}
    what = f"resnet20_w1, {given.images} images, 11 points on two lines, 10 batches of 128 per recalibration"
    write_results("diagnose", {"what": what, "wanted wall seconds": 60, "threads": given.threads, "rounds": rows})


if __name__ == "__main__":
    main()
