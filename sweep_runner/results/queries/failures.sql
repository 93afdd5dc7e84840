-- Trials that failed or did not fit, with their reasons.
SELECT sweep, trial, name, state, failures, host, reason
FROM trials WHERE state IN ('FAILED', 'INFEASIBLE') ORDER BY sweep, trial
