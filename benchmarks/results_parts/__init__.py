"""What benchmarks/results.py runs, how, and how it is told."""
