"""Analyses of what the stages have found: figures of layers and neurons (4-8), clusters of sentences (12-13), the
claims that the paper makes, and the agreement of estimators."""
