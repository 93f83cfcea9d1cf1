"""Speeds as ratios to primitives timed in the same run; never part of a test."""
