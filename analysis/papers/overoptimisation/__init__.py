"""How far a proxy of a reward can be optimised (Gao, Schulman and Hilton 2022), from our own runs."""
