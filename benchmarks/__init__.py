"""Speeds that the documentation states, measured as ratios in one run."""
