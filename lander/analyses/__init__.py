"""Analyses of what the stages have found: sentence clusters (figures 12-13) and the claims that the paper makes."""
