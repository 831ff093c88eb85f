"""The parts of the benchmark; bench/README.md says what is measured and why so."""
