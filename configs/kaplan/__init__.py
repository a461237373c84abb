"""The experiments of Kaplan et al. (2020) at budgets from minutes to the paper's own.

    scaling reproduce kaplan --budget cpu-1h
    scaling study show configs/kaplan/data.py --set budget=cpu-24h

The main grid (configs/grid.py) is the first of them. Each module here is another: `runs(budget)` gives its runs and
`study(budget)` makes them a study of their own. Runs that two experiments share are the same runs. How much a budget
can afford is said once, in budgets.py.
"""
