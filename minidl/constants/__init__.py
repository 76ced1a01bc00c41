"""Numbers that a fast kernel and its twin share; neither reads them from the other."""
