"""The experiments of Kaplan et al. (2020) at budgets from minutes to the paper's own.

    scaling reproduce kaplan --budget cpu-20m
    scaling study show configs/kaplan/size.py --set budget=cpu-3h

Each module is one experiment: `runs(budget)` gives its runs and `study(budget)` makes them a study of their own. Runs
that two experiments share are the same runs. How much a budget can afford is said once, in budgets.py.
"""
