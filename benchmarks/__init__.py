"""Load on this project and on its peers, one after the other on one machine: ``python -m benchmarks``."""
