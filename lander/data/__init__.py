"""Stage `data`: parallel text is read, cleaned, split, sampled and given its instructions (paper, section 4.1)."""
