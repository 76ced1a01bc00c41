"""What a model is made of: summaries, drawings, plots."""
