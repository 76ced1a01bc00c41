"""What several rooms share: numbers of a fast kernel and its twin, and names that files hold."""
