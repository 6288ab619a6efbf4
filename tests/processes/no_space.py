"""experiments.train with files that may not grow beyond 64 kB, as on a full disk; for process 0 only."""

import resource
import signal
import sys

from experiments import cli, train

if __name__ == "__main__":
    if "--parallel.process=0" in sys.argv:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000))
    cli.run_main(train.main)
