"""A paper in miniature: what a further paper costs, with one experiment, one figure and two claims."""
