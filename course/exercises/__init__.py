"""Exercises to fill in, a file a chapter. `python -m course.check 1` says how far chapter 1 is."""
