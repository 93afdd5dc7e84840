-- The best value of every sweep, and the trial that has it.
SELECT sweep, objective, best_value, best_trial, num_trials, state FROM sweeps ORDER BY sweep
