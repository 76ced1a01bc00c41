"""Solutions of the exercises, a file a chapter, under the same names."""
