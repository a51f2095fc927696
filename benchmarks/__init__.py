"""Side-by-side measurements: `python -m benchmarks.<name>` prints a table and, as its last line, one JSON object.

The header of each says what it measures, the bound and where that comes from, the peers, and the keys of the JSON.
"""
