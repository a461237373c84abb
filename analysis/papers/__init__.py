"""Published papers, figure by figure, from our own tables."""
